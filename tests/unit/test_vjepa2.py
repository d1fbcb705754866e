"""V-JEPA 2.1 against golden numbers of the published encoder, by way of its files: weights made by
a formula are written in the public layout, imported and loaded as a study's are.

golden/vjepa21.json says where its numbers come from. Full size at 256 and 384 pixels, and a network
of 128 channels at a grid that is not square."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from vits import SHAPE, Code, random_state, refused, spec, vjepa2, write

from gear import config
from gear.alignment.teachers import pretrained
from gear.alignment.teachers.base import spatial_zscore
from gear.alignment.teachers.load import load_teacher
from gear.alignment.teachers.vjepa2 import VJEPA2, frequencies, rotary_table
from gear.data.memory import to_float
from gear.files import reading as files

GOLDEN = json.loads((Path(__file__).parent / "golden/vjepa21.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-4  # absolute, of values up to 17; rounding of float32 is at most 2e-5
SMALL = {"embed_dim": 128, "depth": 12, "num_heads": 2}
PREFIX = "module.backbone."
P = 2147483647


# ---- weights and images by formula ---------------------------------------------------------------


def filled(shapes, scale):
    """Weights of the golden numbers. With j the place of a name in the sorted list and i that of a
    value: m = (48271 (i + 1) + 69621 (j + 1)) mod P, scale ((m^2 mod P) / P - 1/2), and 1 more for
    the gains of norms."""
    state = {}
    for j, name in enumerate(sorted(shapes)):
        i = np.arange(np.prod(shapes[name]), dtype=np.int64)
        m = (48271 * (i + 1) + 69621 * (j + 1)) % P
        values = scale * ((m * m % P) / P - 0.5)
        if name.endswith(".weight") and len(shapes[name]) == 1:
            values += 1
        state[name] = torch.from_numpy(values.astype(np.float32)).view(shapes[name])
    return state


def training_file(state):
    """What the public file holds: beside the averaged encoder what its training needs to go on,
    here with small tensors. Numbers of `encoder` that are not finite would show."""
    part = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(part.parameters())
    part(torch.ones(3)).sum().backward()
    optimizer.step()
    return {
        "encoder": {key: torch.full((2,), torch.nan) for key in state},
        "predictor": dict(part.state_dict()),
        "opt": optimizer.state_dict(),
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 12},
        "ema_encoder": state,
        "epoch": 40,
        "loss": 0.5,
        "batch_size": 8,
        "world_size": 16,
        "lr": 1e-4,
    }


def teacher_of(folder, shape, scale):
    """The teacher of weights made by formula, by way of a public file and its import."""
    names = vjepa2(shape["embed_dim"], shape["depth"])
    path = folder / "vjepa2_1_vitb_dist_vitG_384.pt"
    torch.save(training_file(filled(names, scale)), path)
    pretrained.import_weights(spec(path, "vjepa2"), folder / "teacher", shape)
    path.unlink()
    return load_teacher(folder / "teacher", config.Data(resolution=256))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    yield teacher_of(folder, VJEPA2.SHAPE, 0.15)
    (folder / "teacher/weights.safetensors").unlink()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return teacher_of(tmp_path_factory.mktemp("small"), SMALL, 0.4)


def sines(height, width):
    """An input (1, 3, H, W), already normalised."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(height), np.arange(width), indexing="ij")
    waves = 1.5 * np.sin(0.05 * (1 + 0.3 * c) * (y + 1) + 0.0004 * (x + 1) ** 2 + 0.9 * c)
    waves += 0.5 * np.sin(0.31 * x - 0.17 * y + c)
    return torch.from_numpy(waves.astype(np.float32))[None]


def bytes_of(side):
    """An image (1, 3, side, side) of uint8."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(side), np.arange(side), indexing="ij")
    return torch.from_numpy((((c + 1) * x + 2 * y + x * y // 16) % 256).astype(np.uint8))[None]


@torch.no_grad()
def stages(teacher, x):
    """What the golden file has of preprocessed images."""
    found = {}

    def keep(module, inputs, output):
        found["tokens"], found["block1"] = inputs[0], output

    hook = teacher.encoder.blocks[0].register_forward_hook(keep)
    found["features"] = teacher.patches(x)
    hook.remove()
    return found | {"features_zscore": spatial_zscore(found["features"])}


def check(found, case):
    for stage, wanted in GOLDEN["cases"][case].items():
        _, N, width = found[stage].shape
        assert [1, N, width] == wanted["shape"]
        entries = [found[stage][0, (37 * k + 5) % N, (101 * k + 11) % width] for k in range(24)]
        entries = torch.stack(entries)[: len(wanted["entries"])]
        wrong = (entries - torch.tensor(wanted["entries"])).abs().max().item()
        assert wrong < TOLERANCE, f"{case} {stage}: {wrong:.1e}"
        assert found[stage].mean().item() == pytest.approx(wanted["mean"], abs=2e-5), stage
        assert found[stage].std().item() == pytest.approx(wanted["std"], abs=2e-5), stage


# ---- the golden numbers --------------------------------------------------------------------------


def test_the_formula_gives_the_published_runs_weights():
    """A slip in the formula would look like one in the network; here it is seen alone."""
    state = filled(vjepa2(768, 12, prefix=""), 0.15)
    assert len(state) == 158
    assert sum(v.numel() for v in state.values()) == GOLDEN["count"]["base"]
    assert sum(v.double().sum().item() for v in state.values()) == pytest.approx(
        GOLDEN["sum"], abs=1e-3
    )
    for name, first in GOLDEN["first"].items():
        assert state[name].flatten()[:4].tolist() == pytest.approx(first, rel=1e-6), name


@pytest.mark.parametrize("size", [(64, 96), (256, 256)])
def test_a_small_network_has_the_published_features(small, size):
    """Of a grid that is not square: rows and columns are rescaled apart."""
    check(stages(small, sines(*size)), f"small_sin_{size[0]}x{size[1]}")


@pytest.mark.parametrize("side", [256, 384])
def test_features_are_the_published_ones(base, side):
    """384 pixels, for which a study is refused, show that positions are rescaled."""
    check(stages(base, sines(side, side)), f"sin_{side}")


def test_an_image_of_zeros_shows_the_norms_epsilon(base):
    check(stages(base, torch.zeros(1, 3, 256, 256)), "zero_256")


def test_from_bytes_to_the_zscore_as_a_training_reads_images(base):
    x = to_float(bytes_of(256))
    found = stages(base, base.preprocess(x)) | {"features_zscore": base(x)}
    check(found, "uint8_256")


def test_the_parameters_are_the_published_ones(base, small):
    for teacher, size in ((base, "base"), (small, "small")):
        assert sum(p.numel() for p in teacher.encoder.parameters()) == GOLDEN["count"][size]
        assert len(teacher.encoder.state_dict()) == 158


@pytest.mark.parametrize("grid", [16, 24])
def test_the_rotation_of_ones_at_row_3_and_column_5(grid):
    from timm.layers.pos_embed_sincos import apply_rot_embed_cat

    table = rotary_table(grid, grid, 64)
    turned = apply_rot_embed_cat(torch.ones(1, 1, grid * grid, 64), table)[0, 0, 3 * grid + 5]
    assert turned.tolist() == pytest.approx(GOLDEN["turned_ones"][str(grid)], abs=1e-5)


# ---- as the trainings use it ---------------------------------------------------------------------


def test_frequencies_are_float32_under_any_default(small):
    """The published code rounds them to bfloat16 in a bfloat16 run."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found, table = frequencies(20), rotary_table(16, 16, 64)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32 == table.dtype
    torch.testing.assert_close(found, torch.tensor(GOLDEN["frequencies"]), rtol=1e-6, atol=0)


def test_bfloat16_moves_features_little(small):
    x = to_float(bytes_of(256))
    exact = small(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = small(x)
    assert found.dtype == torch.float32 and not torch.equal(found, exact)
    assert torch.cosine_similarity(found, exact, dim=-1).mean() > 0.999


@pytest.mark.parametrize("size", [(16, 16), (16, 64), (64, 16), (31, 64)])
def test_images_under_32_pixels_have_no_positions(small, size):
    """A single row or column: the published network gives NaN."""
    with pytest.raises(ValueError, match="use images of at least 32 pixels on each side"):
        small.patches(torch.zeros(1, 3, *size))
    assert small.patches(torch.zeros(1, 3, 32, 32)).isfinite().all()


# ---- the public file -----------------------------------------------------------------------------


def test_the_rest_of_a_training_does_not_disturb(tmp_path):
    """The same bytes come out of the averaged encoder alone."""
    state = random_state(vjepa2())
    alone, whole = write(tmp_path / "alone.pt", state), tmp_path / "whole.pt"
    torch.save(training_file(state), whole)
    made = []
    for path in (alone, whole):
        pretrained.import_weights(spec(path, "vjepa2"), tmp_path / path.stem, SHAPE)
        made.append((tmp_path / path.stem / "weights.safetensors").read_bytes())
    assert made[0] == made[1]
    record = files.read_json(tmp_path / "whole/run.json")
    assert "ema_encoder" not in record["shape"] and record["network"] == "vjepa2"
    assert record["parameters"] == sum(v.numel() for v in state.values())


def saved(path, content):
    torch.save(content, path)
    return path


def test_a_file_without_the_averaged_encoder_is_named(tmp_path):
    """The giant models' files have `target_encoder`; a state alone has no entries."""
    content = training_file(random_state(vjepa2()))
    content["target_encoder"] = content.pop("ema_encoder")
    said = refused(saved(tmp_path / "giant.pt", content), "vjepa2")
    assert "has 10 entries, the first 'encoder', and none named 'ema_encoder'" in said
    assert "no file of V-JEPA 2.1 ViT-B/16" in said
    said = refused(saved(tmp_path / "bare.pt", content["target_encoder"]), "vjepa2")
    assert "none named 'ema_encoder'" in said


def test_an_averaged_encoder_that_is_no_state_is_named(tmp_path):
    content = training_file(random_state(vjepa2()))
    content["ema_encoder"] = torch.ones(3)
    said = refused(saved(tmp_path / "tensor.pt", content), "vjepa2")
    assert "'ema_encoder' is no dictionary of tensors but a Tensor" in said
    content["ema_encoder"] = random_state(vjepa2()) | {f"{PREFIX}depth": 12}
    said = refused(saved(tmp_path / "number.pt", content), "vjepa2")
    assert f"'{PREFIX}depth' is no tensor but a int" in said
    content["ema_encoder"] = random_state(vjepa2(prefix="backbone."))
    said = refused(saved(tmp_path / "prefix.pt", content), "vjepa2")
    assert f"'{PREFIX}img_mod_embed' is missing" in said and "'backbone." in said


@pytest.mark.parametrize("name", ["patch_embed.proj.weight", "norms_block.0.bias"])
def test_what_an_image_does_not_touch_must_be_there_too(tmp_path, name):
    state = random_state(vjepa2())
    del state[PREFIX + name]
    said = refused(write(tmp_path / "file.pt", state), "vjepa2")
    assert f"'{PREFIX}{name}' is missing" in said


def test_code_in_another_entry_is_not_run(tmp_path):
    """The optimizer's entry is not used, and read all the same where a pickle would run."""
    content = training_file(random_state(vjepa2())) | {"opt": Code()}
    said = refused(saved(tmp_path / "code.pt", content), "vjepa2")
    assert "could run code" in said
