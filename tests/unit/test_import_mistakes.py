"""`gear import` of a wrong file: one sentence that names what was found, and nothing is written."""

import argparse
import collections
import pickle
import re

import layouts
import pytest
import torch
from checkpoints import LAYOUT, NETWORKS, SIZES, content, state

from gear.cli.main import main
from gear.weights import LAYOUTS, importing


@pytest.fixture
def refused(tmp_path):
    """refused(content or a file's bytes, layout, match): the import fails and leaves no DEST."""

    def check(content, layout, match, name="file.pt", **options):
        path, dest = tmp_path / name, tmp_path / "dest"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        with pytest.raises(ValueError, match=match) as caught:
            importing.import_weights(path, dest, layout, NETWORKS, SIZES, **options)
        message = str(caught.value)
        assert "\n" not in message and message.endswith(".") and message.startswith(str(path))
        assert not dest.exists() and len(list(tmp_path.iterdir())) == (content is not None)

    return check


FILES = {
    **{LAYOUT[kind]: content(kind) for kind in LAYOUT},
    "llamagen-c2i": {"model": state("ar")},
    "llamagen-t2i": {"model": state("text ar")},
    "gear": layouts.gear(vq=state("vq"), vq_ema=state("vq")),
}


@pytest.mark.parametrize("asked", LAYOUTS)
@pytest.mark.parametrize("given", LAYOUTS)
def test_a_file_of_another_layout_is_recognised(refused, asked, given):
    if asked != given:
        first = "vq" if given == "gear" else next(iter(content_state(FILES[given])))
        said = f"is not of --layout {asked} .its first keys: '{first}'"
        refused(FILES[given], asked, f"{said}, .* looks like --layout {given}.$")


def content_state(file):
    return file.get("model") or file["state_dict"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_of_no_layout_names_what_it_holds(refused, layout):
    none = f"is not of --layout {layout} .its first keys: 'cow', 'dog'.; it is none of the layouts "
    refused({"cow": torch.zeros(2), "dog": torch.zeros(2)}, layout, none + "llamagen-tokenizer, ")
    refused([1, 2], layout, "it holds a list")


@pytest.mark.parametrize("asked", ["llamagen-c2i", "gear"])
@pytest.mark.parametrize("part", ["ar", "ema"])
def test_text_to_image_is_not_taken_for_class_conditional(refused, asked, part):
    said = f"is not of --layout {asked} .*; it looks like --layout llamagen-t2i.$"
    refused({part: state("text ar")}, asked, said)


def test_a_text_to_image_file_with_wrong_parts(refused):
    live = {"ar": state("text ar")}
    said = "ar: .* 'cls_embedding.cap_proj.fc2.weight', .* should not be there"
    refused(live | {"ema": state("ar")}, "llamagen-t2i", said)
    refused(live | {"vq": state("vq")}, "llamagen-t2i", "no layout of ours has: 'vq'; take them")
    refused(live | {"ema": 3}, "llamagen-t2i", "'ema' is no dictionary .* of --layout llamagen-t2i")
    s = state("text ar") | {"layers.1.attention_norm_text.weight": torch.ones(16)}
    said = "'layers.1.attention_norm_text.weight' should not be there"  # one of two has a stream
    refused({"model": s}, "llamagen-t2i", said)


def test_slots_below_one(refused):
    said = "setting 'text.slots' is 0; it must be at least 1"
    refused({"model": state("text ar")}, "llamagen-t2i", said, slots=0)


CHANGED = {  # layout: (key, its shape) in a state of the file
    "llamagen-tokenizer": ("decoder.mid.1.q.weight", "16x16x1x1"),
    "llamagen-c2i": ("layers.1.feed_forward.w3.weight", "32x16"),
    "llamagen-t2i": ("layers.0.attention.wqkv_text.weight", "48x16"),
    "open-magvit2": ("decoder.adaptive.1.gamma.weight", "16x5"),
    "ibq": ("decoder.up.2.attn.0.norm.bias", "16"),
}


def spoilt(layout, change, average=False):
    """The file after `change(state, key)`; of its average, if it is to be."""
    file = {k: dict(v) if isinstance(v, dict) else v for k, v in FILES[layout].items()}
    key = CHANGED[layout][0]
    change(content_state(file), "model_ema." + key.replace(".", "") if average else key)
    return file


@pytest.mark.parametrize("layout", CHANGED)
def test_a_missing_a_surplus_and_a_misshapen_key_are_named(refused, layout):
    for average in (False, True)[: 1 if layout.startswith("llamagen") else 2]:
        _each_is_named(refused, layout, average)


def _each_is_named(refused, layout, average):
    key, shape = CHANGED[layout]
    key = key.replace(".", "") if average else key
    refused(
        spoilt(layout, lambda s, k: s.pop(k), average),
        layout,
        rf"'{key}' is missing \(wanted: {shape}\); the file is of another network than the one "
        r"that is wanted.$",
    )

    def surplus(s, k):
        s[k + "x"] = s[k]

    refused(spoilt(layout, surplus, average), layout, f"'{key}x' should not be there; the file is")

    def misshapen(s, k):
        s[k] = torch.zeros(3, 5)

    wrong = rf"'{key}' has shape 3x5 \(wanted: {shape}\); the file is"
    refused(spoilt(layout, misshapen, average), layout, wrong)

    def no_tensor(s, k):
        s[k] = [1.0]

    refused(spoilt(layout, no_tensor, average), layout, f"'{key}' of .* is no tensor but a list")


@pytest.mark.parametrize(
    "parts, match",
    [
        ({"vq": state("vq") | {"x": torch.zeros(2)}}, "vq: 'x' should not be there"),
        ({"vq": {"x": torch.zeros(2)}}, "no VQ-16, LFQ-16 or IBQ-16 .its first keys: 'x'"),
        ({"vq": state("vq"), "vq_ema": state("ibq")}, "vq_ema: 'encoder.conv_blocks.* is missing"),
        ({"vq": state("vq"), "vq_ema": 3}, "'vq_ema' is no dictionary of tensors but a int"),
        ({"vq": state("vq"), "head": {}}, "entries that no layout of ours has: 'head'"),
        ({"discriminator": state("discriminator")}, "'discriminator' but no 'vq' that it"),
        ({"vq": state("vq"), "projectors": state("projectors")}, "'projectors' but no 'ar' that"),
        (
            {
                "ar": state("ar"),
                "projectors": state("projectors") | {"projs.1.0.bias": torch.ones(2)},
            },
            "projectors: 'projs.1.0.bias' should not be there",
        ),
    ],
)
def test_a_gear_file_with_wrong_parts(refused, parts, match):
    refused(layouts.gear(**parts), "gear", match)


@pytest.mark.parametrize(
    "shapes, match",
    [
        ({"dim": 20}, r"an AR of 2 layers x 20 is none of the study's sizes \(b 2 x 16\)"),
        ({"layers": 3}, "'layers.2.* should not be there"),
        ({"layers": 1}, "'layers.1.* is missing"),
        ({"hidden": 30}, r"w1.weight' has shape 30x16 \(wanted: 32x16\)"),
    ],
)
def test_an_ar_of_another_size(refused, shapes, match):
    shapes = {"layers": 2, "dim": 16, "hidden": 32, "codes": 32, "classes": 7} | shapes
    refused({"model": layouts.random(layouts.llamagen(**shapes))}, "llamagen-c2i", match)


@pytest.mark.parametrize(
    "layout, name, table",
    [
        ("llamagen-c2i", "ar", "tok_embeddings.weight"),
        ("llamagen-c2i", "ar", "cls_embedding.embedding_table.weight"),
        ("llamagen-t2i", "text ar", "tok_embeddings.weight"),
        ("llamagen-t2i", "text ar", "cls_embedding.cap_proj.fc1.weight"),
    ],
)
def test_an_ar_without_its_tables(refused, layout, name, table):
    s = state(name)
    s.pop(table)
    refused({"model": s}, layout, f"'{table}' is missing")
    refused({"model": s | {table: torch.zeros(3)}}, layout, rf"'{table}' has shape \(3,\)")


# files


class Bomb:
    """Unpickled as `pickle` does it, it writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(tmp_path, zipped):
    traces = tmp_path / "traces"
    traces.mkdir()
    content = {"model": state("vq"), "args": Bomb(traces / "ran")}
    path = tmp_path / "bomb.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    torch.load(path, weights_only=False)
    assert (traces / "ran").exists()  # it is a bomb
    (traces / "ran").unlink()
    with pytest.raises(ValueError, match="asks for '[a-z_]+.open', which is neither a tensor nor"):
        importing.import_weights(path, tmp_path / "d", "llamagen-tokenizer", NETWORKS, SIZES)
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(ValueError, match="bomb.pt"):
        importing.import_weights(path, tmp_path / "d", "llamagen-tokenizer", NETWORKS, SIZES)
    assert not list(traces.iterdir()) and not (tmp_path / "d").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_containers_are_no_code(tmp_path, zipped):
    file = content("ibq")
    file["callbacks"] = collections.OrderedDict(a={"b": (1, None, {2.5, "c"})})
    file["hyper_parameters"] = argparse.Namespace(lr=1e-4, name="x", more=[True])
    torch.save(file, tmp_path / "f.ckpt", _use_new_zipfile_serialization=zipped)
    importing.import_weights(tmp_path / "f.ckpt", tmp_path / "d", "ibq", NETWORKS, SIZES)
    assert (tmp_path / "d" / "run.json").exists()


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", ["file.pt", "file.safetensors"])
def test_a_truncated_file(refused, tmp_path, name, kept):
    if name.endswith(".pt"):
        torch.save(FILES["llamagen-tokenizer"], tmp_path / name)
    else:
        from safetensors.torch import save_file

        save_file(state("vq"), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    torn = whole[: int(len(whole) * kept)]
    refused(torn, "llamagen-tokenizer", "cannot be read .*; it is torn or no file of", name)


@pytest.mark.parametrize(
    "bytes_, name, match",
    [
        (None, "file.pt", "file.pt is missing; download the weights there, or correct the path"),
        (b"<!DOCTYPE html>", "file.pt", r"is no PyTorch file \(it starts with b'<!DOCTYP'\)"),
        (b"", "file.ckpt", "is no PyTorch file"),
        (b"PK\x03\x04", "file.bin", "file.bin is no file of weights by its name; those end in .pt"),
        (b"x" * 99, "file.safetensors", "cannot be read .*; it is torn"),
    ],
)
def test_what_is_no_file_of_weights(refused, bytes_, name, match):
    refused(bytes_, "ibq", match, name)


def test_a_file_with_another_hash(refused):
    refused(FILES["ibq"], "ibq", "has sha256 [0-9a-f]{64}, wanted: 00; download it", sha256="00")


# DEST and the command


def test_other_weights_are_not_written_over(tmp_path):
    def run(seed, dest):
        torch.save({"model": layouts.random(layouts.llamagen(2, 16, 32, 32, 7), seed)}, file)
        importing.import_weights(file, dest, "llamagen-c2i", NETWORKS, SIZES)

    file, dest = tmp_path / "ar.pt", tmp_path / "dest"
    run(1, dest)
    first = (dest / "weights.safetensors").read_bytes()
    for place in (dest, tmp_path / "above"):
        if place != dest:
            place.mkdir()
            dest.rename(place / "ar")
        with pytest.raises(ValueError, match=r"holds other weights \(ar.pt\); name another folder"):
            run(2, place)
    assert (tmp_path / "above" / "ar" / "weights.safetensors").read_bytes() == first
    trained = tmp_path / "trained"
    trained.mkdir()
    (trained / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"trained holds other weights \(not imported\)"):
        run(2, trained)
    with pytest.raises(ValueError, match="ar.pt is a file; name a folder for the imported weights"):
        run(2, file)


def test_the_command_says_one_sentence(tmp_path):
    torch.save(FILES["ibq"], tmp_path / "x.pt")
    command = ["import", str(tmp_path / "x.pt"), str(tmp_path / "d"), "--layout"]
    with pytest.raises(SystemExit, match="^gear: .* looks like --layout ibq.$"):
        main([*command, "gear"])
    with pytest.raises(SystemExit, match="^gear: there is no study 'papr'. Did you mean 'paper'"):
        main([*command, "ibq", "--study", "papr"])
    with pytest.raises(SystemExit, match=re.escape("x.pt, model_ema: ")):  # too small for the paper
        main([*command, "ibq"])


def test_a_resolution_that_the_tokenizer_cannot_have(tmp_path):
    torch.save(FILES["llamagen-c2i"], tmp_path / "x.pt")
    with pytest.raises(ValueError, match="--resolution 30 is no multiple of the tokenizer's 4"):
        importing.import_weights(
            tmp_path / "x.pt", tmp_path / "d", "llamagen-c2i", NETWORKS, SIZES, resolution=30
        )


KEY = "decoder.conv_out.bias"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e300])
@pytest.mark.parametrize("layout", ["llamagen-tokenizer", "gear"])
def test_weights_that_are_not_finite(refused, layout, number):
    weights = state("vq")
    weights[KEY] = weights[KEY].double()
    weights[KEY][0] = number  # 1e300 is finite in float64 alone
    file = {"model": weights} if layout == "llamagen-tokenizer" else layouts.gear(vq=weights)
    refused(file, layout, f"'{KEY}' has numbers that are not finite;")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bool, torch.int64, torch.int8])
def test_weights_that_are_no_floating_point_numbers(refused, dtype):
    weights = state("vq")
    weights[KEY] = weights[KEY].to(dtype)
    said = f"'{KEY}' holds {str(dtype)[6:]} and not floating-point numbers, so it holds no weights;"
    refused({"model": weights}, "llamagen-tokenizer", said)


def test_a_part_with_another_checksum(refused, tmp_path):
    """A flipped bit of a weight: the file opens and its shapes are right."""
    torch.save(content("vq"), tmp_path / "file.pt")
    whole, wanted = (tmp_path / "file.pt").read_bytes(), state("vq")[KEY].numpy().tobytes()
    assert whole.count(wanted) >= 1
    (tmp_path / "file.pt").unlink()
    flipped = bytearray(whole)
    flipped[whole.index(wanted)] ^= 1
    refused(bytes(flipped), "llamagen-tokenizer", "Bad CRC-32 for file")


@pytest.mark.parametrize("resolution", [0, -16])
def test_a_resolution_below_one(refused, resolution):
    said = f"file.pt: the resolution is {resolution}; it must be at least 1"
    refused({"model": state("ar")}, "llamagen-c2i", said, resolution=resolution)
