"""All that is asked of a checkpoint that reads captions, in one job as in several; a run that
diverged; and whether pictures follow their captions."""

import json
from types import SimpleNamespace

import captioned
import numpy as np
import pytest
import torch

from gear import config
from gear.alignment.teachers.load import load_teacher
from gear.data import captions as measures
from gear.data import digits
from gear.data.memory import to_float
from gear.evaluation import captions as evaluated
from gear.evaluation import checkpoint as evaluate
from gear.evaluation import score
from gear.metrics.following import NAMES, following
from gear.runtime import checkpoint
from gear.runtime.loop import Segment
from gear.sampling import generate
from gear.t2i.load import load_ar
from gear.t2i.text import load_encoder
from gear.tokenizer.load import load_frozen

IMAGES = sum(captioned.VAL)
PROTOCOL = {"name": "demo_text", "neighbours": 3, "prdc_images": IMAGES, "images": IMAGES}
PROMPTS = {"val": {"split": "val", "count": IMAGES}}
SAMPLERS = {
    "text": {"images": IMAGES, "prompts": "val"},
    "text-cfg4": {"images": IMAGES, "prompts": "val", "guidance": 4.0},
}
SCORES = {"fdd", "precision", "recall", "density", "coverage", "mmd"}


class Spoiled:
    classes = []

    def __init__(self, data):
        self.data = data

    def batch(self, step):
        batch = self.data.batch(step)
        return batch._replace(images=batch.images * float("nan"))


@pytest.fixture(scope="module")
def world(tmp_path_factory, smoke_settings, encoder_folder):
    """Shards, features, a teacher, a tokenizer, and two t2i checkpoints, `good` and `bad`."""
    root = tmp_path_factory.mktemp("world")
    changes = captioned.changes(root, **{"runtime.on_nonfinite": "record"})
    settings = smoke_settings("gear-t2i", **changes)
    made = captioned.made(root, settings, encoder_folder)
    data = captioned.training_set(root, settings)
    for name, source in (("good", data), ("bad", Spoiled(data))):
        trainer = captioned.trainer(settings, encoder_folder)
        Segment(trainer, source, root / name / "1k", 0, 1).run(name)
    return made


def arguments(world, run):
    places = {"checkpoint": f"{run}/1k", "samples": f"out-{run}/samples"}
    places |= {"tokenizer": "vq", "metrics": f"out-{run}/metrics"}
    places |= {name: name for name in ("features", "teacher")}
    places = {name: str(world.path / place) for name, place in places.items()}
    return SimpleNamespace(**places, data=str(world.manifest), encoder=str(world.encoder))


@pytest.fixture(scope="module")
def out(world):
    """out(run) -> the folder of what its evaluation wrote."""
    job = {"settings": config.difference(world.settings), "samplers": SAMPLERS}
    job |= {"text": PROTOCOL, "prompts": PROMPTS}
    for run in ("good", "bad"):
        evaluate.evaluate(job, arguments(world, run))
    return lambda run: world.path / f"out-{run}"


def read(path):
    return json.loads(
        path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in {path}")
    )


def test_every_declared_file_is_there(out, world):
    names = {f"{sampler}.npz" for sampler in SAMPLERS} | {"pictures.npz"}
    assert {p.name for p in (out("good") / "samples").iterdir()} == names
    names = {f"{name}.json" for name in (*SAMPLERS, "validation")}
    assert {p.name for p in (out("good") / "metrics").iterdir()} == names
    for name, sampler in SAMPLERS.items():
        found = read(out("good") / f"metrics/{name}.json")
        assert set(found) == {"demo_text", "following", "record"}
        assert set(found["demo_text"]) == SCORES and set(found["following"]) == set(NAMES)
        assert all(np.isfinite(list(found["demo_text"].values())))
        assert 0 <= found["following"]["digit"] <= 1
        wanted = {"guidance": sampler.get("guidance", 1.0), "temperature": 1.0, "images": 1}
        assert wanted.items() <= found["record"].items() and found["record"]["prompts"] == IMAGES
    with np.load(out("good") / "samples/text.npz") as plain:
        assert plain["prompts"].tolist() == list(range(IMAGES))
        with np.load(out("good") / "samples/text-cfg4.npz") as guided:
            assert np.array_equal(guided["seeds"], plain["seeds"])


def test_the_likelihood_is_of_the_captions_of_the_images(out, world):
    """Against one forward pass over all validation images."""
    ar, settings = load_ar(world.path / "good/1k")
    [(images, names)] = captioned.sets.validation_set(settings, world.manifest).pieces(100)
    assert len(names) == IMAGES
    encoder = load_encoder(world.encoder, settings.text)
    prefix = ar.condition(encoder([captioned.caption(n) for n in range(IMAGES)]))
    x = to_float(images)
    tokens = load_frozen(world.tokenizer).tokens(x)
    logits, tap = ar(ar.embedding(tokens[:, :-1]), prefix, tap=settings.align.layer)
    ntp = -logits.log_softmax(-1).gather(-1, tokens[..., None]).mean()
    project = captioned.tiny.trainer("t2i", settings).modules["projector"]
    checkpoint.load_weights(world.path / "good/1k/weights.safetensors", "projector", project)
    target = load_teacher(world.teacher, settings.data)(x)
    align = -torch.cosine_similarity(project(tap), target, dim=-1).mean()
    found = read(out("good") / "metrics/validation.json")
    assert set(found) == {"likelihood"}
    wanted = {"ntp": ntp.item(), "align": align.item()}
    assert found["likelihood"] == pytest.approx(wanted, rel=1e-5)


def test_the_pictures_are_the_first_prompts_and_the_words(out, world):
    with np.load(out("good") / "samples/pictures.npz") as pictures:
        assert pictures["prompts"].shape == (8, 6, 16, 16, 1)
        assert pictures["words"].shape == (40, 1, 16, 16, 1)
        first = [captioned.caption(n) for n in range(7)]
        assert pictures["prompts_prompts"].tolist()[:7] == first
        assert pictures["prompts_unseen"].tolist() == 7 * [False] + [True]
        assert pictures["words_prompts"].tolist()[:2] == [
            "0, thin, leaning left",
            "1, thin, leaning left",
        ]


def test_a_job_for_each_sampler_writes_the_same(out, world, monkeypatch):
    """The rules draw and score, for studies that do not evaluate in one job."""
    files = arguments(world, "good")
    line = {"settings": config.difference(world.settings)}
    sampler = line | {"sampler": SAMPLERS["text-cfg4"], "prompts": PROMPTS["val"]}
    options = {"checkpoint": files.checkpoint, "output": world.path / "drawn.npz"}
    options |= {"encoder": files.encoder, "data": files.data}
    run_main(monkeypatch, generate, sampler, options)
    together = out("good") / "samples/text-cfg4.npz"
    assert (world.path / "drawn.npz").read_bytes() == together.read_bytes()
    options = {"samples": world.path / "drawn.npz", "tokenizer": files.tokenizer}
    options |= {"features": files.features, "output": world.path / "scores.json"}
    run_main(monkeypatch, score, line | {"protocol": PROTOCOL}, options)
    wanted = read(out("good") / "metrics/text-cfg4.json")
    del wanted["following"]  # which needs the captions
    assert read(world.path / "scores.json") == wanted


def run_main(monkeypatch, module, job, options):
    words = [w for name, value in options.items() for w in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["main", "--job", json.dumps(job), *words])
    module.main()


def test_scores_of_a_run_that_diverged_are_null(out, world):
    assert read(world.path / "bad/1k/run.json")["status"] == "diverged"
    for name in SAMPLERS:
        good, bad = (read(out(run) / f"metrics/{name}.json") for run in ("good", "bad"))
        assert {part: set(values) for part, values in bad.items()} == {
            part: set(values) for part, values in good.items()
        }
        assert set(bad["demo_text"].values()) == set(bad["following"].values()) == {None}
        assert bad["record"] == good["record"]
    found = read(out("bad") / "metrics/validation.json")
    assert found == {"likelihood": {"ntp": None, "align": None}}
    names = {f"{sampler}.npz" for sampler in SAMPLERS} | {"pictures.npz"}
    assert {p.name for p in (out("bad") / "samples").iterdir()} == names


# ---- whether pictures follow their captions ------------------------------------------------------


def wanted(count=4000):
    """What captions say, each value as often as the others."""
    rng = np.random.default_rng(1)
    words = {"digit": rng.integers(0, 10, count)}
    return words | {name: rng.integers(-1, 2, count) for name in ("stroke", "slant")}


def test_pictures_that_follow_perfectly_and_those_of_others():
    words = wanted()
    seen = {"digit": words["digit"], "stroke": 2.8 + 0.3 * words["stroke"]}
    found = following(words, seen | {"slant": 9.0 * words["slant"]})
    assert set(found) == set(NAMES) and len(NAMES) == 6
    assert found["digit"] == 1 and found["stroke"] == pytest.approx(1) == found["slant"]
    # three standard deviations of chance
    assert found["digit_shuffled"] == pytest.approx(0.1, abs=0.015)
    assert found["stroke_shuffled"] == pytest.approx(0, abs=0.05)
    assert found["slant_shuffled"] == pytest.approx(0, abs=0.05)


def test_pictures_of_the_opposite_have_a_negative_correlation():
    words = wanted()
    seen = {"digit": (words["digit"] + 1) % 10, "stroke": -1.0 * words["stroke"]}
    found = following(words, seen | {"slant": words["slant"] + 0.0})
    assert found["digit"] == 0 and found["stroke"] == pytest.approx(-1)


def test_pictures_that_are_all_alike_have_no_correlation():
    words = wanted(50)
    seen = {"digit": np.full(50, 3), "stroke": np.zeros(50), "slant": np.zeros(50)}
    found = following(words, seen)
    assert found["digit"] == (words["digit"] == 3).mean() == found["digit_shuffled"]
    assert [found[name] for name in ("stroke", "slant", "slant_shuffled")] == [None] * 3


def test_shuffled_captions_are_always_of_another_picture():
    """Every caption is its own: none of the others' is right."""
    for count in (2, 3, 10):
        each = np.arange(count)
        words = {name: each for name in ("digit", "stroke", "slant")}
        assert following(words, words)["digit_shuffled"] == 0
    with pytest.raises(ValueError, match="1 pictures are too few"):
        following({"digit": np.zeros(1)}, {})


def test_real_digits_follow_their_own_captions(tmp_path):
    """The captions of gear.data.captions, whose words are thresholds on what is measured."""
    digits.prepare(tmp_path / "digits", size=16, train=20, val=200, seed=0)
    _, shown, images = measures.read_split(tmp_path / "digits/val", 16)
    signs = zip(shown, *measures.signs(images), strict=True)
    words = evaluated.wanted([measures.caption("long", *each) for each in signs])
    seen = {"digit": shown, "stroke": measures.stroke(images), "slant": measures.slant(images)}
    found = following(words, seen)
    assert found["digit"] == 1 and found["stroke"] > 0.7 and found["slant"] > 0.7
    assert abs(found["slant_shuffled"]) < 0.3


def test_captions_that_name_no_digit_are_not_measured():
    assert evaluated.wanted(["a bold three", "a dog on the left"]) is None
    found = evaluated.wanted(["a bold three", "7, thin, leaning right"])
    assert {name: values.tolist() for name, values in found.items()} == {
        "digit": [3, 7],
        "stroke": [1, -1],
        "slant": [0, 1],
    }


def test_a_list_of_captions_is_encoded_once():
    asked = []
    encoder = evaluated.remembered(lambda captions: asked.append(captions) or len(asked))
    assert [encoder(c) for c in (["a", "b"], ["b", "a"], ["a", "b"])] == [1, 2, 1]
    assert asked == [["a", "b"], ["b", "a"]]
