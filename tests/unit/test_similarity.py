"""Which features are compared with which, over which images; and the job from end to end."""

import json
import sys

import pytest
import torch
from tiny import RandomImages

from gear import config
from gear.analysis import similarity
from gear.analysis.cka import cka
from gear.analysis.cknna import cknna
from gear.analysis.features import ar_states, tokenizer_features
from gear.analysis.similarity import Choices, Tally, gather, report
from gear.ar.train import ARTrainer
from gear.data import digits
from gear.files import aside as files
from gear.runtime import checkpoint, rng
from gear.runtime.loop import Segment
from gear.tokenizer.load import load_frozen

CPU = torch.device("cpu")


def choices(**changes):
    chosen = {"images": 24, "batch": 12, "neighbours": {"image": 3, "patch": 2}, "kernel": "inner",
              "cka": "biased", "cutoff": 0.25}  # fmt: skip
    return chosen | changes


# ---- features ----------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["vq", "lfq", "ibq"])
def test_tokenizer_features_are_the_quantizers_input_and_output(smoke_settings, tiny_networks, run):
    settings = smoke_settings(run)
    tokenizer = tiny_networks.tokenizer(settings).eval().requires_grad_(False)
    images = torch.rand(3, 1, 16, 16) * 2 - 1
    tokens, found = tokenizer_features(tokenizer, images)
    assert torch.equal(tokens, tokenizer.tokens(images))
    quantized = tokenizer.quantizer(tokenizer.encode(images))
    torch.testing.assert_close(found["post"], quantized.code_BND, rtol=0, atol=1e-5)
    assert torch.equal(tokenizer.quantizer.assignment(found["pre"]).hard(), tokens)
    unit = torch.allclose(found["pre"].norm(dim=-1), torch.ones(3, 16), atol=1e-5)
    assert unit == (run == "vq")


def test_states_are_those_of_every_layer(smoke_settings, tiny_networks):
    ar = tiny_networks.ar(smoke_settings())
    tokens, labels = torch.randint(16, (3, 16)), torch.tensor([0, 4, 9])
    states = ar_states(ar, tokens, ar.condition(labels))
    assert len(states) == len(ar.blocks) + 1 and not ar.dropout._forward_hooks
    with torch.no_grad():
        for layer, state in enumerate(states[1:], 1):
            logits, tap = ar(ar.embedding(tokens[:, :-1]), ar.condition(labels), tap=layer)
            assert torch.equal(state, tap)
        assert torch.equal(ar.head(ar.norm(states[-1])), logits)


def test_a_state_stands_for_the_patch_that_it_predicts(smoke_settings, tiny_networks):
    """State k reads the label and tokens 0 to k - 1: never patch k, always the one before."""
    ar = tiny_networks.ar(smoke_settings())
    tokens, labels = torch.randint(16, (1, 16)), torch.tensor([4])
    states = ar_states(ar, tokens, ar.condition(labels))
    with torch.no_grad():
        assert torch.equal(states[0][:, 0], ar.condition.weight[labels])
        assert torch.equal(states[0][:, 1:], ar.embedding(tokens[:, :-1]))
    for place in (0, 7, 15):
        other = tokens.clone()
        other[0, place] = (tokens[0, place] + 1) % 16
        changed = [
            (a - b).abs().amax((0, 2)) > 0
            for a, b in zip(states, ar_states(ar, other, ar.condition(labels)), strict=True)
        ]
        for layer in changed:
            assert not layer[: place + 1].any()
            assert place == 15 or layer[place + 1]


# ---- gathering ---------------------------------------------------------------------------------


class Images:
    """Validation images with numbers, as gear.data.sets makes them."""

    def __init__(self, count):
        self.labels = torch.arange(count)

    def __len__(self):
        return len(self.labels)

    def take(self, chosen):
        return torch.as_tensor(chosen, dtype=torch.uint8)[:, None, None, None]


class Subject:
    """Features that are functions of the image's number alone."""

    aligned = 0

    def features(self, images, labels):
        numbers = ((images[:, 0, 0, 0] + 1) * 127.5).round().long()
        assert torch.equal(numbers, labels)

        def of(name, width):
            place = torch.arange(16 * width).view(1, 16, width)
            values = rng.uniform((name,), numbers[:, None, None].numpy(), place.numpy())
            return torch.from_numpy(values)

        target = of("teacher", 5)
        return {"pre": of("pre", 3), "post": of("post", 3), "layer 0": target * 2}, target

    def names(self):
        return ("pre", "post"), ("layer 0",)


def expected_of(chosen):
    """{measure: (mean, sd)} of 'pre', in a straightforward way."""
    order = rng.permutation(("analysis",), 30)[: chosen.images]
    images = Images(30).take(order).float() / 127.5 - 1
    found, target = Subject().features(images, torch.from_numpy(order))
    pooled = [z.mean(1).unflatten(0, (-1, chosen.batch)) for z in (found["pre"], target)]
    k = chosen.neighbours
    values = {
        "cka_patch_pre": cka(found["pre"], target, chosen.cka),
        "cknna_patch_pre": cknna(found["pre"], target, k["patch"]),
        "cka_image_pre": cka(*pooled, chosen.cka),
        "cknna_image_pre": cknna(*pooled, k["image"]),
    }
    assert len(values["cka_image_pre"]) == chosen.images // chosen.batch
    return {name: (v.mean().item(), v.std().item()) for name, v in values.items()}


@pytest.mark.parametrize("size", [5, 12, 64])
def test_images_within_themselves_and_batches_of_means(size):
    chosen = Choices(**choices())
    found = report(Subject(), gather(Subject(), Images(30), chosen, size, CPU))
    for name, (mean, sd) in expected_of(chosen).items():
        assert found["similarity"][name] == pytest.approx(mean, abs=1e-12)
        assert found["similarity_sd"][name] == pytest.approx(sd, abs=1e-12)
    layers = found["layers"]
    assert layers["cka_patch"]["mean"] == pytest.approx([1]) and found["undefined"] == {}
    assert found["states"]["cka_patch_aligned"] == layers["cka_patch"]["mean"][0]
    for measure in ("moran", "fft_high"):
        assert layers[measure]["mean"][0] == pytest.approx(found["teacher"][measure]["mean"])


def test_the_cosine_kernel_ignores_lengths():
    class Longer(Subject):
        def features(self, images, labels):
            found, target = super().features(images, labels)
            return found, target * (1 + torch.arange(16.0)[:, None])

    for kernel, same in (("cosine", True), ("inner", False)):
        chosen = Choices(**choices(kernel=kernel))
        a, b = (
            report(s, gather(s, Images(30), chosen, 8, CPU))["similarity"]
            for s in (Subject(), Longer())
        )
        for name in ("cka_patch_pre", "cknna_patch_pre"):
            assert (a[name] == pytest.approx(b[name])) == same


def test_what_has_no_value_is_left_out_and_counted():
    tally = Tally()
    tally.add("pre", {"cka_patch": torch.tensor([0.2, torch.nan])})
    tally.add("pre", {"cka_patch": torch.tensor([0.4]), "lost": torch.tensor([torch.nan])})
    mean, sd, lacking = tally("cka_patch", "pre")
    assert (mean, lacking) == (pytest.approx(0.3), 1) and sd == pytest.approx(0.02**0.5)
    with pytest.raises(ValueError, match="lost of the features 'pre' is undefined in every image"):
        tally("lost", "pre")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 36}, "analysis.images is 36, but there are 30 validation images; set it to at"),
        ({"images": 25}, "25 is no multiple of analysis.batch 12"),
        ({"kernel": "cosin"}, "analysis.kernel cannot be 'cosin'. Did you mean 'cosine'"),
        ({"cka": "none"}, "analysis.cka cannot be 'none'. Known: biased, unbiased"),
        ({"batch": 3}, "3 samples to compare and it takes 4"),
        ({"neighbours": {"image": 12, "patch": 2}}, "12 neighbours of 12 samples"),
        ({"cutoff": 1.0}, "set analysis.cutoff between 0 and 0.7"),
    ],
)
def test_bad_choices_are_one_sentence(changes, message):
    with pytest.raises(ValueError, match=message):
        gather(Subject(), Images(30), Choices(**choices(**changes)), 8, CPU)


# ---- the job -----------------------------------------------------------------------------------


class Spoiled(RandomImages):
    def batch(self, step):
        batch = super().batch(step)
        return batch._replace(images=batch.images * torch.nan)


@pytest.fixture(scope="module")
def world(tmp_path_factory, smoke_settings, tiny_networks):
    """A folder with data, a teacher, a joint checkpoint, an AR on it and one that diverged."""
    root = tmp_path_factory.mktemp("world")
    digits.prepare(root / "data", size=16, train=20, val=24, seed=0)
    settings = smoke_settings(**{"data.path": str(root / "data"), "runtime.on_nonfinite": "record"})
    teacher = tiny_networks.teacher(settings)
    shape = {"channels": 1, "resolution": 16, "classes": 10, "patch": 4, "dim": 16, "layers": 1}
    checkpoint.save_weights(root / "teacher/weights.safetensors", {"teacher": teacher})
    record = {"shape": shape, "spec": {"objective": "masked_patch"}}
    files.write_json(root / "teacher/run.json", record)
    for name, data in (("good", RandomImages(settings)), ("bad", Spoiled(settings))):
        Segment(tiny_networks.trainer("joint", settings), data, root / name / "1k", 0, 1).run(name)
    frozen = ARTrainer(settings, load_frozen(root / "good/1k"), teacher)
    Segment(frozen, RandomImages(settings), root / "frozen/1k", 0, 1).run("frozen")
    return root, settings


def analysed(world, monkeypatch, run, tokenizer, **changes):
    root, settings = world
    job = {"settings": config.difference(settings), "analysis": choices(**changes)}
    options = {"checkpoint": f"{run}/1k", "tokenizer": f"{tokenizer}/1k", "teacher": "teacher",
               "output": "out.json"}  # fmt: skip
    words = [word for k, v in options.items() for word in (f"--{k}", str(root / v))]
    monkeypatch.setattr(sys, "argv", ["similarity", "--job", json.dumps(job), *words])
    similarity.main()
    return (root / "out.json").read_text()


def test_a_checkpoint_shows_what_it_holds(world, monkeypatch):
    text = analysed(world, monkeypatch, "good", "good")
    joint = json.loads(text)
    assert text == analysed(world, monkeypatch, "good", "good")  # the same bytes
    frozen = json.loads(analysed(world, monkeypatch, "frozen", "good"))
    assert set(joint) - set(frozen) == {"similarity", "similarity_sd"}
    aligned, last = (joint["states"][f"cka_patch_{place}"] for place in ("aligned", "last"))
    assert [aligned, last] == joint["layers"]["cka_patch"]["mean"][1:]  # layer 1 of 2 is aligned
    assert frozen["teacher"] == joint["teacher"] and joint["choices"] == choices()
    assert len(joint["similarity"]) == 8 and len(joint["layers"]) == 6
    for values in (*joint["layers"].values(), *frozen["layers"].values()):
        assert len(values["mean"]) == len(values["sd"]) == 3


def test_a_run_that_diverged_has_no_values(world, monkeypatch):
    found = json.loads(analysed(world, monkeypatch, "bad", "bad"))
    assert found["similarity"] is None and found["layers"] is None


def test_a_wrong_number_of_images_is_named(world, monkeypatch):
    with pytest.raises(ValueError, match="analysis.images is 36, but there are 24 validation"):
        analysed(world, monkeypatch, "good", "good", images=36)
