"""Pretrained teachers: the features of each public layout against a plain forward on the file's own
keys (vits.py), and what a training gets."""

import json

import pytest
import torch
from safetensors.torch import load_file
from vits import (
    DIM,
    FILES,
    PLAIN,
    SHAPE,
    clip_l,
    dinov2,
    dinov3_facebook,
    plain_siglip2,
    random_state,
    siglip2_timm,
    siglip2_transformers,
    spec,
    vjepa2,
    write,
    zscore,
)

from gear import config
from gear.alignment.loss import alignment_loss
from gear.alignment.teachers import load, pretrained
from gear.alignment.teachers.base import spatial_zscore
from gear.alignment.teachers.load import load_teacher
from gear.files import aside as files
from gear.files import hashes
from gear.runtime import checkpoint
from gear.study import jobs


def data(resolution=256, **more):
    return config.Data(resolution=resolution, **more)


@pytest.fixture
def imported(tmp_path):
    """imported(network, state, resolution, name) -> the teacher, by way of its files."""

    def make(network, state, resolution=256, name="public.pth"):
        path = write(tmp_path / name, state)
        pretrained.import_weights(spec(path, network), tmp_path / "teacher", SHAPE)
        return load_teacher(tmp_path / "teacher", data(resolution))

    return make


@pytest.mark.parametrize("name", FILES)
def test_features_are_those_of_the_public_weights(imported, name):
    network, shapes = FILES[name]
    state = random_state(shapes)
    teacher = imported(network, state, 256, name)
    x = torch.rand(2, 3, 256, 256) * 2 - 1
    found, wanted = teacher(x), PLAIN[network](state, x, 256)
    assert found.shape == (2, 256, DIM) == wanted.shape and teacher.width == DIM
    assert wanted.std() > 0.1 and (wanted[:, 0] - wanted[:, 100]).abs().mean() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("resolution", (384, 512))
@pytest.mark.parametrize("network, shapes", [("dinov2", dinov2()), ("dinov3", dinov3_facebook())])
def test_features_fall_on_the_tokens_of_other_resolutions(imported, network, shapes, resolution):
    state = random_state(shapes)
    x = torch.rand(1, 3, resolution, resolution) * 2 - 1
    found = imported(network, state, resolution)(x)
    assert found.shape == (1, (resolution // 16) ** 2, DIM)
    torch.testing.assert_close(found, PLAIN[network](state, x, resolution), rtol=1e-5, atol=1e-5)


def test_siglip2_takes_the_resolution_of_its_weights(imported):
    state = random_state(siglip2_transformers(tokens=1024))
    x = torch.rand(1, 3, 512, 512) * 2 - 1
    found = imported("siglip2", state, 512)(x)
    torch.testing.assert_close(found, plain_siglip2(state, x, 512), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="are for 512 pixels, data.resolution is 256"):
        imported("siglip2", state, 256)


def test_a_resolution_without_a_fitting_grid_is_refused(imported):
    state = random_state(siglip2_timm())
    with pytest.raises(ValueError, match="are for 256 pixels, data.resolution is 384"):
        imported("siglip2", state, 384)
    with pytest.raises(ValueError, match="serves data.resolution 256 alone, not 384"):
        imported("clip_l", random_state(clip_l()), 384)
    with pytest.raises(ValueError, match="serves data.resolution 256, 512 and 1024 alone, not 384"):
        imported("vjepa2", random_state(vjepa2()), 384)
    with pytest.raises(ValueError, match="data.resolution 250 is no multiple of 16"):
        imported("dinov2", random_state(dinov2()), 250)


def test_zscore_is_per_image_and_channel():
    z = torch.randn(3, 20, 5) * 4 + 7
    torch.testing.assert_close(spatial_zscore(z), zscore(z))
    one = spatial_zscore(z)
    torch.testing.assert_close(one.std(1), torch.ones(3, 5))
    torch.testing.assert_close(one.mean(1), 0.4 * z.mean(1) / z.std(1))
    assert spatial_zscore(torch.ones(1, 4, 2)).isfinite().all()


def test_patches_come_in_raster_order(imported):
    """A change in one 16 x 16 block moves the same token's feature most."""
    teacher = imported("dinov2", random_state(dinov2()))
    x = torch.zeros(1, 3, 256, 256)
    changed = x.clone()
    changed[:, :, 5 * 16 : 6 * 16, 9 * 16 : 10 * 16] = 1
    moved = (teacher(changed) - teacher(x)).abs().sum(-1)[0]
    assert moved.argmax() == 5 * 16 + 9


# ---- as the trainings use it ---------------------------------------------------------------------


def test_a_teacher_is_frozen_and_draws_nothing(imported):
    state = random_state(dinov2())
    before = torch.get_rng_state()
    teacher = imported("dinov2", state)
    assert torch.equal(torch.get_rng_state(), before)
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    x = torch.zeros(1, 3, 256, 256, requires_grad=True)
    assert not teacher(x).requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        assert teacher(x).dtype == torch.float32
    assert alignment_loss(torch.zeros(1, 256, teacher.width), teacher(x)).ndim == 0


def test_images_of_another_size_or_grey_are_named(imported, tmp_path):
    teacher = imported("dinov2", random_state(dinov2()))
    with pytest.raises(ValueError, match="RGB images of 256 pixels, got .3, 384, 384."):
        teacher(torch.zeros(1, 3, 384, 384))
    with pytest.raises(ValueError, match="data.channels is 1"):
        load_teacher(tmp_path / "teacher", data(channels=1))


def test_the_record_says_where_the_weights_come_from(imported, tmp_path):
    imported("dinov3", random_state(dinov3_facebook()))
    record = json.loads((tmp_path / "teacher/run.json").read_text())
    source = tmp_path / "public.pth"
    assert record["kind"] == "pretrained" and record["network"] == "dinov3"
    assert record["label"] == "the teacher" and "facebook" in record["layout"]
    assert record["source"]["sha256"] == hashes.sha256(source)
    assert record["source"]["bytes"] == source.stat().st_size
    weights = load_file(tmp_path / "teacher/weights.safetensors")
    assert all(k.startswith("teacher.") for k in weights)
    assert record["parameters"] == sum(v.numel() for v in weights.values())


def test_a_standin_is_still_read(smoke_settings, tiny_networks, tmp_path):
    settings = smoke_settings()
    standin = tiny_networks.teacher(settings)
    shape = {"channels": 1, "resolution": 16, "classes": 10, "patch": 4, "dim": 16, "layers": 1}
    checkpoint.save_weights(tmp_path / "weights.safetensors", {"teacher": standin})
    record = {"shape": shape, "spec": {"objective": "masked_patch"}}
    files.write_json(tmp_path / "run.json", record)
    found = load_teacher(tmp_path, settings.data)
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(found(x), standin(x)) and found.width == standin.std.numel() == 16


def test_half_precision_files_become_float32(imported):
    state = {k: v.half() for k, v in random_state(clip_l()).items()}
    teacher = imported("clip_l", state)
    assert {p.dtype for p in teacher.parameters()} == {torch.float32}


@pytest.mark.parametrize("network", load.NETWORKS)
def test_the_public_sizes(network):
    """ViT-B and ViT-L, weight by weight, from their published width and depth."""
    teacher = load.network(network)
    dim, depth, side = (1024, 24, 14) if network == "clip_l" else (768, 12, teacher.PATCH)
    with torch.device("meta"):
        encoder = teacher.build(teacher.SIZES[0], **teacher.SHAPE)
    block = 12 * dim**2 + 13 * dim  # with all biases and both norms
    blocks = {"dinov2": block + 2 * dim, "dinov3": block + dim, "siglip2": block, "clip_l": block}
    blocks |= {"vjepa2": block}
    rest = {  # patches and their bias, positions, CLS and registers, norm
        "dinov2": dim * (1 + 1370 + 1 + 2),
        "dinov3": dim * (1 + 5 + 2),
        "siglip2": dim * (1 + 256 + 2),
        "clip_l": dim * (257 + 1 + 2),
        "vjepa2": dim * (1 + 2 + 8 + 1 + 3 * 2 * side**2),  # and the patches of videos
    }
    count = sum(p.numel() for p in encoder.parameters())
    assert count == depth * blocks[network] + 3 * side**2 * dim + rest[network]


def test_each_kind_of_teacher_gets_what_it_needs(smoke, paper):
    assert set(json.loads(jobs.teacher(smoke, "dinov2"))) == {"settings", "defaults", "spec"}
    assert json.loads(jobs.teacher(paper, "dinov3")) == {"spec": paper.spec["teachers"]["dinov3"]}
    assert jobs.teachers_by_kind(smoke) == {"standin": ["dinov2"], "pretrained": []}
    assert jobs.teachers_by_kind(paper)["pretrained"] == ["dinov2", "dinov3", "siglip2", "vjepa2"]
