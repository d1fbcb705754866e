"""`gear import`: every public layout loads, and computes what its published formulas say."""

import argparse
import hashlib
import json
import shutil

import layouts
import pytest
import straightforward as plain
import torch
import torch.nn.functional as F
from checkpoints import GROUPS, LAYOUT, LEVELS, NETWORKS, SIZES, content, state
from safetensors.torch import load_file, save_file

from gear.ar.load import load_ar
from gear.cli.main import main
from gear.files import reading as files
from gear.foreign import convert
from gear.foreign.convert import Taken
from gear.runtime import checkpoint
from gear.t2i.load import load_ar as load_any
from gear.tokenizer.discriminator import PatchGAN
from gear.tokenizer.load import load_frozen, load_tokenizer, settings_of
from gear.tokenizer.losses import tokenizer_loss
from gear.weights import importing
from gear.weights.networks import ar_settings, network


@pytest.fixture
def imported(tmp_path):
    """imported(content, layout) -> DEST, after an import of a file with that content."""

    def run(content, layout, suffix=".pt", **options):
        torch.save(content, tmp_path / f"file{suffix}")
        source, dest = tmp_path / f"file{suffix}", tmp_path / "dest"
        importing.import_weights(source, dest, layout, NETWORKS, SIZES, **options)
        return dest

    return run


def same(module, state, kind, settings):
    """Whether a module holds exactly a public state."""
    _, mapping = network(kind, settings, state)
    found = convert.to_theirs(module.state_dict(), mapping)
    return found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)


# at full size

COUNTS = {"vq": 71_883_403, "lfq": 115_094_033, "ibq": 110_982_019}


def agree(kind, settings, shapes):
    """The network's keys and shapes are the public ones. Returns its parameters."""
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    module, mapping = network(kind, settings, state)
    ours = {key: value.shape for key, value in module.state_dict().items()}
    assert mapping.keys() == ours.keys()
    convert.check(Taken(kind, "model", state, (kind,)), mapping, ours, "file")
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("kind", COUNTS)
def test_published_tokenizers_have_our_shapes_and_the_published_count(paper, kind):
    shapes = getattr(layouts, kind)()
    assert agree("tokenizer", paper.network(kind), shapes) == COUNTS[kind]
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == COUNTS[kind]


@pytest.mark.parametrize("size", layouts.SIZES)
def test_published_ars_have_our_shapes_and_the_published_count(paper, size):
    layers, dim, hidden, count = layouts.SIZES[size]
    shapes = layouts.llamagen(layers, dim, hidden)
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    settings = ar_settings(state, paper.network("vq"), paper.spec["sizes"], None, "file")
    assert settings.ar.size == size and dim // settings.ar.heads == (32 if size == "s" else 64)
    assert (settings.data.classes, settings.tokenizer.codebook_size) == (1000, 16384)
    assert agree("ar", settings, shapes) == count


def test_published_discriminator_and_projectors_have_our_shapes(paper):
    settings = paper.runs["gear-l"].settings
    assert agree("discriminator", settings, layouts.patchgan()) == 2_765_633
    for run, dim, count in (("b", 768, 7_344_896), ("l", 1024, 7_869_184), ("xl", 1280, 8_393_472)):
        settings = paper.runs[f"gear-{run}"].settings
        assert agree("projector", settings, layouts.projectors(dim)) == count


TEXT_SIZES = {  # layers, width, heads, feed-forward width, parameters
    "b": (12, 768, 12, 2048, 121_722_624),
    "l": (24, 1024, 16, 2816, 378_594_304),
    "xl": (36, 1280, 20, 3584, 856_336_640),
    "1b": (36, 1440, 20, 3840, 1_047_659_040),
}
# of the sorted lines "key rows x columns" of the published 1b
TEXT_LAYOUT = "268a62631abacc9e1ff2e014eead311dd9687d1d48b9d483812ef5da787fc39c"


@pytest.mark.parametrize("name", TEXT_SIZES)
def test_published_text_ars_have_our_shapes_and_the_published_count(paper, name):
    layers, dim, heads, hidden, count = TEXT_SIZES[name]
    shapes = layouts.llamagen_text(layers, dim, hidden)
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    own = {"layers": layers, "dim": dim, "heads": heads, "depth": {"default": layers // 3}}
    settings = ar_settings(state, paper.network("vq"), {name: own}, None, "file")
    assert (settings.text.slots, settings.text.width, settings.reads_text) == (300, 2048, True)
    assert settings.align.layer == layers // 3 and settings.ar.size == name
    assert agree("ar", settings, shapes) == count


def test_the_keys_of_the_largest_text_ar_are_the_published_ones():
    shapes = layouts.llamagen_text()
    lines = sorted(f"{key} {'x'.join(map(str, shape))}" for key, shape in shapes.items())
    assert len(lines) == 293
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == TEXT_LAYOUT
    counts = {k: torch.Size(shape).numel() for k, shape in shapes.items()}
    assert sum(n for k, n in counts.items() if "cap_proj" in k) == 5_022_720
    assert sum(n for k, n in counts.items() if "_text" in k) == 99_550_080


# numbers


def expected(kind, s, x):
    """(z (B, D, h, w), indices, quantizer loss, reconstruction) by the formulas."""
    if kind == "lfq":
        z = plain.magvit2_encode(s, x, GROUPS, LEVELS)
        indices, code, scores, loss = plain.quantize(kind, s, z)
        return z, indices, scores, loss, plain.magvit2_decode(s, code, GROUPS, LEVELS)
    z = plain.vqgan_encode(s, x, GROUPS, LEVELS, kind == "vq")
    indices, code, scores, loss = plain.quantize(kind, s, z)
    return z, indices, scores, loss, plain.vqgan_decode(s, code, GROUPS, LEVELS, kind == "vq")


@pytest.mark.parametrize("kind", LAYOUT)
def test_a_tokenizer_computes_what_the_formulas_say(imported, kind):
    tokenizer = load_frozen(imported(content(kind), LAYOUT[kind], ".ckpt"))
    x = torch.rand(3, 3, 16, 16) * 2 - 1
    z, indices, scores, loss, recon = expected(kind, state(kind), x)
    assert len(indices.unique()) > 3
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(tokenizer.encode(x), z.flatten(2).mT, **close)
    assert torch.equal(tokenizer.tokens(x), indices.flatten(1))
    torch.testing.assert_close(tokenizer.decode(indices.flatten(1)), recon, **close)
    ours, quantized = tokenizer(x)
    torch.testing.assert_close(quantized.assignment.scores().flatten(0, 1), scores, **close)
    total, _ = tokenizer_loss(x, ours, quantized, NETWORKS[kind].loss)
    torch.testing.assert_close(total, loss + (recon - x).abs().mean(), **close)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_ar_computes_what_the_formulas_say(imported, tmp_path, suffix):
    s = state("ar")
    if suffix == ".pt":
        dest = imported({"model": s}, "llamagen-c2i")
    else:
        save_file(s, tmp_path / "ar.safetensors")
        dest = tmp_path / "dest"
        source = tmp_path / "ar.safetensors"
        importing.import_weights(source, dest, "llamagen-c2i", NETWORKS, SIZES)
    ar, settings = load_ar(dest)
    assert settings.ar.prefix_rope == "zero" and settings.ar.heads == 2
    tokens, labels = torch.randint(32, (3, 16)), torch.tensor([0, 6, 7])
    logits, _ = ar(ar.embedding(tokens[:, :-1]), ar.condition(labels))
    wanted = plain.llamagen(s, tokens, labels, heads=2, side=4)
    assert wanted.std() > 0.1
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-5)
    losses = [F.cross_entropy(x.flatten(0, 1), tokens.flatten()) for x in (logits, wanted)]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)


def test_the_resolution_of_an_ar_can_be_said(imported):
    dest = imported({"model": state("ar")}, "llamagen-c2i", resolution=24)
    ar, settings = load_ar(dest)
    assert (settings.data.resolution, ar.length) == (24, 36)


# what is taken, and under which names


@pytest.mark.parametrize("kind", ["lfq", "ibq"])
def test_the_average_is_preferred_and_the_log_says_so(imported, kind, capsys):
    dest = imported(content(kind), LAYOUT[kind])
    said = capsys.readouterr().err
    assert "EMA weights are preferred: model_ema" in said
    assert "left out: state_dict," in said and "loss* (3 keys)" in said
    for prefix in ("tokenizer", "live.tokenizer"):  # as published, training goes on from it too
        assert same(load_tokenizer(dest, prefix), state(kind), "tokenizer", NETWORKS[kind])


@pytest.mark.parametrize("kind", ["lfq", "ibq"])
def test_without_an_average_the_live_weights_are_taken(imported, kind, capsys):
    dest = imported(content(kind, average=False), LAYOUT[kind])
    assert "EMA" not in capsys.readouterr().err
    assert same(load_tokenizer(dest), state(kind, 1), "tokenizer", NETWORKS[kind])


@pytest.mark.parametrize("kind", LAYOUT)
def test_a_published_tokenizer_of_gear(imported, kind):
    parts = {"vq": state(kind, 1), "vq_ema": state(kind, 2)}
    critic = state("discriminator", 3)
    dest = imported(layouts.gear(**parts, discriminator=critic, stage=0), "gear")
    settings = settings_of(dest)
    assert settings == NETWORKS[kind]
    assert same(load_tokenizer(dest), parts["vq_ema"], "tokenizer", settings)
    assert same(load_tokenizer(dest, "live.tokenizer"), parts["vq"], "tokenizer", settings)
    module = PatchGAN(3, 4, 2)
    checkpoint.load_weights(dest / "weights.safetensors", "discriminator", module)
    x = torch.rand(2, 3, 16, 16)
    found, wanted = module.eval()(x), plain.patchgan(critic, x, layers=2)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", ["vq", "vq_ema"])
def test_one_state_of_a_tokenizer_serves_as_both(imported, part):
    dest = imported(layouts.gear(**{part: state("vq", 4)}, opt_ar=None), "gear")
    for prefix in ("tokenizer", "live.tokenizer"):
        assert same(load_tokenizer(dest, prefix), state("vq", 4), "tokenizer", NETWORKS["vq"])


TEXT_FILES = {  # what the file holds: {prefix: seed of the state that it becomes}
    ("model",): (1, 1),
    ("ar",): (1, 1),
    ("ema",): (2, 2),
    ("model", "ema"): (2, 1),
    ("ar", "ema"): (2, 1),
    (): (1, 1),
}


@pytest.mark.parametrize("parts", TEXT_FILES)
def test_a_text_to_image_ar_of_each_wrapping(imported, parts, capsys):
    states = {part: state("text ar", 2 if part == "ema" else 1) for part in parts}
    file = layouts.gear(**states) if states else state("text ar", 1)
    dest = imported(file, "llamagen-t2i")
    ar, settings = load_any(dest)
    assert settings.reads_text and settings.ar.prefix_rope == "zero"
    assert (settings.text.slots, settings.text.width, ar.condition.slots) == (300, 6, 300)
    average, live = TEXT_FILES[parts]
    assert same(ar, state("text ar", average), "ar", settings)
    checkpoint.load_weights(dest / "weights.safetensors", "live.ar", ar)
    assert same(ar, state("text ar", live), "ar", settings)
    assert ("EMA weights are preferred: ema" in capsys.readouterr().err) == ("ema" in parts)


def test_a_text_to_image_ar_as_safetensors_and_its_slots(tmp_path):
    save_file(state("text ar"), tmp_path / "ar.safetensors")
    arguments = (tmp_path / "ar.safetensors", tmp_path / "dest", "llamagen-t2i", NETWORKS, SIZES)
    importing.import_weights(*arguments, slots=12)
    ar, settings = load_any(tmp_path / "dest")
    assert settings.text.slots == ar.condition.slots == 12
    assert same(ar, state("text ar"), "ar", settings)
    with pytest.raises(ValueError, match="reads captions; name the checkpoint of an AR that reads"):
        load_ar(tmp_path / "dest")


def test_a_stage_1_checkpoint_gives_a_tokenizer_and_an_ar(imported):
    parts = {"vq": state("lfq", 1), "vq_ema": state("lfq", 2), "ar": state("ar", 3)}
    parts |= {"ema": state("ar", 4), "projectors": state("projectors", 5)}
    parts["discriminator"] = state("discriminator")
    dest = imported(layouts.gear(**parts), "gear")
    assert same(load_frozen(dest / "tokenizer"), parts["vq_ema"], "tokenizer", NETWORKS["lfq"])
    ar, settings = load_ar(dest / "ar")
    assert settings.tokenizer == NETWORKS["lfq"].tokenizer and settings.align.layer == 1
    assert same(ar, parts["ema"], "ar", settings)
    file = dest / "ar" / "weights.safetensors"
    assert same(checkpoint.load_weights(file, "live.ar", ar), parts["ar"], "ar", settings)
    projector = network("projector", settings, parts["projectors"])[0].to_empty(device="cpu")
    checkpoint.load_weights(file, "projector", projector)
    x, p = torch.rand(5, 16), parts["projectors"]
    w, b = ([p[f"projs.0.{i}.{leaf}"] for i in (0, 2, 4)] for leaf in ("weight", "bias"))
    wanted = plain.swish(plain.swish(x @ w[0].T + b[0]) @ w[1].T + b[1]) @ w[2].T + b[2]
    torch.testing.assert_close(projector(x), wanted, rtol=1e-5, atol=1e-5)


def test_half_precision_becomes_float32_exactly(imported):
    half = {key: value.bfloat16() for key, value in state("vq").items()}
    dest = imported({"model": half}, "llamagen-tokenizer")
    tokenizer = load_tokenizer(dest)
    stored = load_file(dest / "weights.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float32}
    exact = {key: value.float() for key, value in half.items()}
    assert same(tokenizer, exact, "tokenizer", NETWORKS["vq"])


def test_the_record_says_where_the_weights_come_from(imported, tmp_path):
    dest = imported(content("ibq"), "ibq", ".ckpt")
    record = files.read_json(dest / "run.json")
    assert record["status"] == "imported" and record["settings"]["tokenizer"]["quantizer"] == "ibq"
    source = record["source"]
    assert (source["name"], source["layout"]) == ("file.ckpt", "ibq")
    assert "loss.logvar" in source["left_out"]
    assert record["inputs"] == {str(tmp_path / "file.ckpt"): source["sha256"]}
    count = sum(p.numel() for p in load_tokenizer(dest).parameters())
    assert record["parameters"] == {"tokenizer": count}
    assert record["weights"] == {"tokenizer": "model_ema", "live.tokenizer": "model_ema"}
    keys = record["keys"]
    assert keys["tokenizer.quantizer.codebook"] == "quantizeembeddingweight"
    assert keys["tokenizer.encoder.0.weight"] == "encoderconv_inweight"
    assert {"commit", "versions", "device"} <= record.keys()


# the command


def test_the_command_imports_with_a_studys_settings(tmp_path, smoke):
    shapes = layouts.vq(8, (1, 1, 2), (1, 1), z=16, code=4, codes=16, image=1)
    torch.save({"model": layouts.random(shapes)}, tmp_path / "vq.pt")
    source, dest = str(tmp_path / "vq.pt"), tmp_path / "some" / "where"
    command = ["import", source, str(dest), "--layout", "llamagen-tokenizer", "--study", "smoke"]
    main(command)
    assert settings_of(dest).tokenizer == smoke.runs["vq"].settings.tokenizer
    first = (dest / "weights.safetensors").read_bytes()
    main(command)  # the same file again
    assert (dest / "weights.safetensors").read_bytes() == first
    assert sorted(p.name for p in dest.iterdir()) == ["run.json", "weights.safetensors"]
    assert [p.name for p in dest.parent.iterdir()] == ["where"]
    assert json.loads((dest / "run.json").read_text())["source"]["name"] == "vq.pt"


# what people's own trainings write


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
@pytest.mark.parametrize("kind", ["vq", "ibq"])
def test_prefixes_of_wrappers_are_taken_off(imported, kind, prefix, capsys):
    """torch.compile and DistributedDataParallel put them before all keys."""
    wrapped = {prefix + key: value for key, value in state(kind).items()}
    for file in ({"model": wrapped}, {"state_dict": wrapped}, wrapped):
        dest = imported(file, LAYOUT[kind])
        assert "took '" in capsys.readouterr().err
        assert same(load_tokenizer(dest), state(kind), "tokenizer", NETWORKS[kind])
        shutil.rmtree(dest)


def test_a_training_checkpoint_of_llamagens_tokenizer(imported, capsys):
    training = {"model": state("vq", 1), "ema": state("vq", 2), "steps": 7}
    training |= {"optimizer": {"state": {}}, "optimizer_disc": {"state": {}}}
    training |= {"discriminator": state("discriminator"), "args": argparse.Namespace(lr=1e-4)}
    dest = imported(training, "llamagen-tokenizer")
    assert "left out: discriminator, steps, optimizer, optimizer_disc" in capsys.readouterr().err
    assert same(load_tokenizer(dest), state("vq", 2), "tokenizer", NETWORKS["vq"])


def test_a_file_without_checksums_is_whole(imported, monkeypatch):
    """torch writes such files where it is told to compute no CRC."""
    from torch.serialization import get_crc32_options, set_crc32_options

    before = get_crc32_options()
    set_crc32_options(False)
    try:
        dest = imported(content("vq"), "llamagen-tokenizer")
    finally:
        set_crc32_options(before)
    assert same(load_tokenizer(dest), state("vq"), "tokenizer", NETWORKS["vq"])
