"""All that is asked of one checkpoint: the files, in one job as in several; a run that diverged.

The files of one job are compared with those of several jobs, and with what the rules declare.
"""

import json
import sys

import numpy as np
import pytest
import torch

from gear import config
from gear.ar.train import ARTrainer
from gear.data import digits
from gear.evaluation import checkpoint as evaluate
from gear.evaluation import pictures as pick
from gear.evaluation import score, validate
from gear.features import standin
from gear.files import aside as files
from gear.runtime import checkpoint
from gear.runtime.loop import Segment
from gear.sampling import generate
from gear.sampling.decode import decode
from gear.tokenizer.load import load_frozen

IMAGES = 20
PROTOCOLS = {
    "generation": {"name": "demo", "neighbours": 3, "prdc_images": IMAGES, "images": IMAGES},
    "validation": {"name": "demo", "images": IMAGES},
}
SAMPLERS = {"plain": {"images": IMAGES}, "cfg": {"images": IMAGES, "guidance": 1.5}}


class Spoiled:
    def __init__(self, images):
        self.images, self.classes = images, images.classes

    def batch(self, step):
        batch = self.images.batch(step)
        return batch._replace(images=batch.images * float("nan"))


@pytest.fixture(scope="module")
def world(tmp_path_factory, smoke_settings, tiny_networks, random_images):
    """A folder with data, features, a teacher and four checkpoints, and the settings."""
    root = tmp_path_factory.mktemp("world")
    digits.prepare(root / "data", size=16, train=20, val=IMAGES, seed=0)
    common = {"data.path": str(root / "data"), "runtime.on_nonfinite": "record"}
    settings = smoke_settings("gear-l", **common)

    shape = {"channels": 1, "resolution": 16, "classes": 10}
    torch.manual_seed(0)
    network = standin.StandinClassifier(**shape).eval()
    features = standin.extract(network, (torch.rand(40, 1, 16, 16) * 255).to(torch.uint8))
    checkpoint.save_weights(root / "features/weights.safetensors", {"classifier": network})
    files.write_json(root / "features/run.json", {"shape": shape})
    arrays = (features.pooled_ND, features.spatial_NS, features.probs_NC)
    named = dict(zip(("pooled", "spatial", "probs"), arrays, strict=True))
    generate.save_arrays(root / "features/reference.npz", named)

    teacher = tiny_networks.teacher(settings)
    shape |= {"patch": 4, "dim": 16, "layers": 1}
    checkpoint.save_weights(root / "teacher/weights.safetensors", {"teacher": teacher})
    record = {"shape": shape, "spec": {"objective": "masked_patch"}}
    files.write_json(root / "teacher/run.json", record)

    data = random_images(settings)
    for name, source in (("good", data), ("bad", Spoiled(data))):
        Segment(tiny_networks.trainer("joint", settings), source, root / name / "1k", 0, 1).run(
            name
        )
        frozen = ARTrainer(settings, load_frozen(root / name / "1k"), teacher)
        Segment(frozen, data, root / f"{name}-frozen" / "1k", 0, 1).run(name)
    return root, settings


def arguments(root, run, tokenizer, out):
    options = {
        "checkpoint": f"{run}/1k",
        "tokenizer": f"{tokenizer}/1k",
        "features": "features",
        "teacher": "teacher",
        "samples": f"{out}/samples",
        "metrics": f"{out}/metrics",
    }
    return [word for k, v in options.items() for word in (f"--{k}", str(root / v))]


def evaluated(world, monkeypatch, run, tokenizer):
    root, settings = world
    job = {"settings": config.difference(settings), "samplers": SAMPLERS, **PROTOCOLS}
    words = ["evaluate", "--job", json.dumps(job), *arguments(root, run, tokenizer, f"out-{run}")]
    monkeypatch.setattr(sys, "argv", words)
    evaluate.main()
    return root / f"out-{run}"


def read(path):
    return json.loads(
        path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in {path}")
    )


def leaves(tree):
    return [x for v in tree.values() for x in (leaves(v) if isinstance(v, dict) else [v])]


@pytest.mark.parametrize("run, tokenizer", [("good", "good"), ("good-frozen", "good")])
def test_every_declared_file_is_there(world, monkeypatch, run, tokenizer):
    out = evaluated(world, monkeypatch, run, tokenizer)
    assert {p.name for p in (out / "metrics").iterdir()} == {
        "plain.json",
        "cfg.json",
        "validation.json",
    }
    assert {p.name for p in (out / "samples").iterdir()} == {"plain.npz", "cfg.npz", "pictures.npz"}
    scores = read(out / "metrics/plain.json")["demo"]
    assert set(scores) == {"gfid", "sfid", "is", "precision", "recall"}
    found = read(out / "metrics/validation.json")
    assert all(np.isfinite(leaves(found)))
    if run == "good":  # a frozen tokenizer's are beside its own checkpoint
        assert set(found.pop("demo")) == {"rfid", "psnr", "ssim", "l1"}
        assert 0 < found.pop("codebook")["usage"] <= 1
    assert set(found) == {"likelihood"}
    assert 0 < found["likelihood"]["ntp"] < 5
    with np.load(out / "samples/pictures.npz") as pictures:
        assert pictures["samples"].shape == (80, 16, 16, 1)
        assert pictures["labels"].tolist() == sorted(pictures["labels"].tolist())


def test_the_pictures_of_a_figure_are_the_first_scored_samples_of_each_class(world, monkeypatch):
    root, _ = world
    archive = evaluated(world, monkeypatch, "good", "good") / "samples/cfg.npz"
    job = json.dumps({"settings": {}, "classes": 10})
    words = ["--samples", archive, "--tokenizer", root / "good/1k", "--output", root / "shown.npz"]
    monkeypatch.setattr(sys, "argv", ["pick", "--job", job, *map(str, words)])
    pick.main()
    with np.load(archive) as drawn, np.load(root / "shown.npz") as shown:
        order = np.argsort(drawn["labels"], kind="stable")  # 20 images: none has more than EACH
        assert np.array_equal(shown["labels"], drawn["labels"][order])
        assert np.array_equal(shown["seeds"], drawn["seeds"][order])
        images = decode(load_frozen(root / "good/1k"), drawn["tokens"][order])
        assert np.array_equal(shown["samples"], images.permute(0, 2, 3, 1).numpy())
    assert pick.first_of_each(np.array([1, 0, 2] * 12), 2).tolist() == [
        *range(1, 31, 3), *range(0, 30, 3)]  # fmt: skip
    few = pick.first_of_each(np.arange(1000), 1000)  # ten of a thousand classes, evenly spaced
    assert few.tolist() == [0, 111, 222, 333, 444, 555, 666, 777, 888, 999]


def test_jobs_of_their_own_give_the_same_files(world, monkeypatch):
    root, settings = world
    out = evaluated(world, monkeypatch, "good-frozen", "good")
    runtime = {k: v for k, v in config.difference(settings).items() if k.startswith("runtime.")}
    alone = root / "alone"
    for name, sampler in SAMPLERS.items():
        job = json.dumps({"settings": runtime, "sampler": sampler})
        words = ["--checkpoint", root / "good-frozen/1k", "--output", alone / f"{name}.npz"]
        monkeypatch.setattr(sys, "argv", ["draw", "--job", job, *map(str, words)])
        generate.main()
        job = json.dumps({"settings": runtime, "protocol": PROTOCOLS["generation"]})
        words = ["--samples", alone / f"{name}.npz", "--tokenizer", root / "good/1k"]
        words += ["--features", root / "features", "--output", alone / f"{name}.json"]
        monkeypatch.setattr(sys, "argv", ["score", "--job", job, *map(str, words)])
        score.main()
        for file, folder in ((f"{name}.npz", "samples"), (f"{name}.json", "metrics")):
            assert (alone / file).read_bytes() == (out / folder / file).read_bytes()


@pytest.mark.parametrize("run", ["bad", "bad-frozen"])
def test_what_a_diverged_run_leaves_is_null(world, monkeypatch, run):
    root, _ = world
    assert read(root / "bad/1k/run.json")["status"] == "diverged"
    out = evaluated(world, monkeypatch, run, "bad")
    for file in ("plain.json", "cfg.json", "validation.json"):
        assert set(leaves(read(out / "metrics" / file))) == {None}
    assert len(list((out / "samples").iterdir())) == 3


def test_too_few_validation_images_are_named(world, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "validation", {"name": "demo", "images": 50})
    with pytest.raises(ValueError, match=r"val holds 20 images, protocol validation needs 50; set"):
        evaluated(world, monkeypatch, "good", "good")


@pytest.mark.parametrize("size", [0, 100, -10])
def test_a_torn_reference_is_named(world, tmp_path, size):
    whole = (world[0] / "features/reference.npz").read_bytes()
    (tmp_path / "reference.npz").write_bytes(whole[:size])
    with pytest.raises(ValueError, match=r"is no complete .npz file .*; remove its folder and run"):
        standin.load_reference(tmp_path)


def test_features_do_not_depend_on_the_batch(world):
    network = standin.load_network(world[0] / "features")
    images = (torch.rand(30, 1, 16, 16) * 255).to(torch.uint8)
    whole, parts = (vars(standin.extract(network, images, batch)) for batch in (256, 7))
    assert len(whole) == 3
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-4, atol=1e-6)


def test_a_protocol_of_other_features_says_so(world):
    with pytest.raises(ValueError, match="protocol adm is not computed on standin feat"):
        score.Scorer({"name": "adm"}, str(world[0] / "features"))
    with pytest.raises(ValueError, match="there is no protocol 'amd'. Did you mean 'adm'?"):
        score.Scorer({"name": "amd"}, str(world[0] / "features"))


def test_a_validation_of_other_features_is_named_before_any_work(world, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "validation", {"name": "reconstruction", "images": IMAGES})
    with pytest.raises(ValueError, match="protocol reconstruction is not computed on standin feat"):
        evaluated(world, monkeypatch, "good", "good")
    with pytest.raises(ValueError, match="rounding is 'floor'; it is none or uint8"):
        validate.rounding_of({"name": "reconstruction", "rounding": "floor"}, "inception")


def test_too_few_samples_are_named_before_any_image_is_made(world, monkeypatch, tmp_path):
    root, _ = world
    tokens = {"tokens": np.zeros((3, 16), np.int32), "labels": np.zeros(3), "seeds": np.zeros(3)}
    generate.save_arrays(tmp_path / "few.npz", tokens)
    job = {"settings": {}, "protocol": PROTOCOLS["generation"]}
    words = ["--samples", tmp_path / "few.npz", "--tokenizer", tmp_path / "none"]
    words += ["--features", root / "features", "--output", tmp_path / "out.json"]
    monkeypatch.setattr(sys, "argv", ["score", "--job", json.dumps(job), *map(str, words)])
    with pytest.raises(ValueError, match="few.npz: found 3 generated images, .* exactly 20; draw"):
        score.main()
