"""gear.load and gear.Model on tiny checkpoints with random weights: what the networks and the
commands say, they say."""

import dataclasses
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import gear
from gear.cli import main as cli
from gear.data.memory import to_float, to_uint8
from gear.files import aside as files
from gear.files.hashes import sha256
from gear.files.mistakes import Mistake
from gear.runtime import checkpoint

SIDE = 16  # pixels of the smoke study's images; 4 x 4 tokens of 16 codes


def save(folder, settings, record=None, **modules):
    """A checkpoint folder as training writes it."""
    checkpoint.save_weights(folder / "weights.safetensors", modules)
    own = {"settings": dataclasses.asdict(settings)}
    files.write_json(folder / "run.json", own | (record or {}))
    return folder


@pytest.fixture
def home(tmp_path, smoke_settings, tiny_networks):
    """A study's folder: tokenizer/vq/400k, joint/both/400k and ar/fresh/400k, whose run.json names
    the tokenizer."""
    settings = smoke_settings()
    tokenizer, ar = tiny_networks.tokenizer(settings).eval(), tiny_networks.ar(settings)
    study = tmp_path / "results/tiny"
    vq = save(study / "tokenizer/vq/400k", settings, tokenizer=tokenizer)
    teacher = save(study / "teacher/dinov2", settings, network=ar)
    inputs = [folder / "weights.safetensors" for folder in (teacher, vq)]
    record = {"inputs": {str(path): sha256(path) for path in inputs}}
    return SimpleNamespace(
        settings=settings,
        tokenizer=tokenizer,
        ar=ar,
        study=study,
        vq=vq,
        fresh=save(study / "ar/fresh/400k", settings, record, ar=ar),
        joint=save(study / "joint/both/400k", settings, tokenizer=tokenizer, ar=ar),
    )


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (3, 1, SIDE, SIDE), dtype=np.uint8))


def load(folder, tokenizer=None):
    return gear.load(folder, tokenizer, device="cpu")


def said(function, *arguments, **options):
    with pytest.raises(Mistake) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- images and tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["vq", "joint", "fresh"])
def test_images_go_through_the_networks(home, images, folder):
    model = load(getattr(home, folder))
    tokens = model.encode(images)
    assert torch.equal(tokens, home.tokenizer.tokens(to_float(images)))
    assert tokens.dtype == torch.int64 and tokens.shape == (3, 16)
    with torch.no_grad():
        decoded = home.tokenizer.decode(tokens)
    assert torch.equal(model.decode(tokens), to_uint8(decoded))
    both = model.reconstruct(images)
    assert torch.equal(both.images, to_uint8(decoded)) and torch.equal(both.tokens, tokens)
    error = (decoded / 2 + 0.5).clamp(0, 1) - images / 255
    assert torch.allclose(both.scores["l1"].float(), error.abs().mean((1, 2, 3)))


def test_arrays_are_taken_for_tensors(home, images):
    model = load(home.joint)
    tokens = model.encode(images)
    assert torch.equal(model.encode(images.numpy()[:, :, ::-1][:, :, ::-1]), tokens)
    assert torch.equal(model.decode(tokens.numpy().astype(np.int32)), model.decode(tokens))
    assert torch.equal(model.decode(tokens.tolist()), model.decode(tokens))
    labels = np.arange(3)
    assert model.likelihood(tokens.numpy(), labels) == model.likelihood(tokens, [0, 1, 2])


def test_another_resolution_is_taken(home):
    tokens = load(home.vq).encode(np.zeros((2, 1, 24, 24), np.uint8))
    assert tokens.shape == (2, 36)


# ---- what the commands say -----------------------------------------------------------------------


def test_samples_are_those_of_the_command(home, tmp_path):
    """fresh: both find the tokenizer that run.json names."""
    for folder in (home.joint, home.fresh):
        cli.main(
            [
                *("sample", "--checkpoint", str(folder), "--classes", "3,7", "--count", "2"),
                *("--guidance", "1.5", "--seed", "4", "--top-k", "9", "--device", "cpu"),
                *(f"--output={tmp_path}/grid.png", f"--tokens={tmp_path}/t.npz", "--force"),
            ]
        )
        with np.load(tmp_path / "t.npz") as file:
            arrays = dict(file)
        options = {"classes": [3, 7], "count": 2, "guidance": 1.5, "seed": 4, "top_k": 9}
        drawn = load(folder).sample_with_tokens(**options)
        for name in ("tokens", "labels", "seeds"):
            assert np.array_equal(getattr(drawn, name), arrays[name]), name
        with Image.open(tmp_path / "grid.png") as file:
            enlarged = np.asarray(file).reshape(2, SIDE, 4, 2, SIDE, 4)
            grid = enlarged[:, :, 0, :, :, 0].transpose(0, 2, 1, 3)
        assert np.array_equal(drawn.images, grid.reshape(4, 1, SIDE, SIDE))
        assert torch.equal(load(folder).sample(**options), drawn.images)


def test_a_class_does_not_depend_on_the_others(home):
    model = load(home.joint)
    many = model.sample_with_tokens([7, 0, 3], count=3, temperature=1.1, top_p=0.9)
    alone = model.sample_with_tokens(3, count=2, temperature=1.1, top_p=0.9)
    assert many.labels.tolist() == [7] * 3 + [0] * 3 + [3] * 3
    assert torch.equal(many.tokens[6:8], alone.tokens)
    assert torch.equal(many.images[6:8], alone.images)
    assert not torch.equal(many.tokens[:2], alone.tokens)


def test_the_likelihood_is_that_of_the_command(home, tmp_path, capsys):
    tokens = np.random.default_rng(3).integers(0, 16, (5, 16))
    labels = np.arange(5)
    np.savez(tmp_path / "t.npz", tokens=tokens, labels=labels)
    words = ["likelihood", f"--checkpoint={home.fresh}", f"--tokens={tmp_path}/t.npz", "--json"]
    model = load(home.fresh)
    for more, classes in (([], labels), (["--class=4"], 4)):
        cli.main([*words, *more, "--device=cpu"])
        printed = json.loads(capsys.readouterr().out)["ntp"]
        assert printed == model.likelihood(tokens, classes)
    assert model.likelihood(tokens, 4) == model.likelihood(tokens, [4] * 5)
    assert model.likelihood(tokens, labels) != model.likelihood(tokens, 4)


# ---- the tokenizer of an AR ----------------------------------------------------------------------


def test_the_tokenizer_of_moved_results_is_found(home, images):
    tokens = load(home.fresh).encode(images)
    moved = home.study.rename(home.study.parent / "elsewhere")
    assert torch.equal(load(moved / "ar/fresh/400k").encode(images), tokens)


def test_a_tokenizer_that_was_changed_is_not_taken(home, tiny_networks, images):
    save(home.vq, home.settings, tokenizer=tiny_networks.tokenizer(home.settings, seed=9))
    model = load(home.fresh)
    sentence = (
        f"{home.fresh} holds no weights 'tokenizer'; name the tokenizer that its AR was trained on "
        "with `tokenizer`."
    )
    assert said(model.encode, images) == said(model.sample, 3) == sentence
    assert model.likelihood(np.zeros((1, 16), int), 3) > 0
    copy = save(home.study / "copy", home.settings, tokenizer=home.tokenizer)
    assert load(home.fresh, copy).encode(images).shape == (3, 16)


def test_another_tokenizer_of_the_same_shapes_is_refused(home, tiny_networks):
    """Nothing in the images would show it."""
    other = tiny_networks.tokenizer(home.settings, seed=9)
    other = save(home.study / "tokenizer/other/400k", home.settings, tokenizer=other)
    for ar in (home.fresh, home.joint):
        assert said(load, ar, other) == (
            f"the AR of {ar} was not trained on the tokenizer of {other}: those weights have "
            f"another sha256; leave the tokenizer out, or name the one that {ar}/run.json states."
        )
    assert load(home.joint, home.joint).likelihood(np.zeros((1, 16), int), 3) > 0


@pytest.mark.parametrize("change", ["flipped", "swapped", "torn", "not a number"])
def test_weights_that_are_not_those_of_the_run_are_refused(home, tiny_networks, images, change):
    folder, record = (
        home.study / "tokenizer/own/400k",
        {"settings": dataclasses.asdict(home.settings)},
    )
    tokenizer = tiny_networks.tokenizer(home.settings)
    checkpoint.save_folder(folder, {"tokenizer": tokenizer}, record)
    assert load(folder).encode(images).shape == (3, 16)
    weights = folder / "weights.safetensors"
    if change == "swapped":
        weights.write_bytes((home.joint / "weights.safetensors").read_bytes())
    elif change == "torn":
        weights.write_bytes(weights.read_bytes()[:-9])
    elif change == "flipped":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    else:
        with torch.no_grad():
            next(tokenizer.parameters()).view(-1)[0] = torch.nan
        save(folder, home.settings, tokenizer=tokenizer)  # an old record without a sha256
    sentence = said(lambda: load(folder).encode(images))
    if change == "not a number":
        assert "has numbers that are not finite" in sentence
    elif change == "torn":
        assert "is no complete safetensors file" in sentence
    else:
        assert "the weights were changed or are of another run" in sentence


def test_the_tokenizer_of_the_same_imported_file_is_found(home, tmp_path, images):
    origin = {"source": {"path": "both.pt", "sha256": "12"}}
    ar = save(tmp_path / "public/ar", home.settings, origin, ar=home.ar)
    other = {"source": {"path": "other.pt", "sha256": "34"}}
    save(tmp_path / "public/tokenizer", home.settings, other, tokenizer=home.tokenizer)
    assert "holds no weights 'tokenizer'" in said(load(ar).encode, images)
    save(tmp_path / "public/tokenizer", home.settings, origin, tokenizer=home.tokenizer)
    assert torch.equal(load(ar).encode(images), load(home.vq).encode(images))


# ---- mistakes ------------------------------------------------------------------------------------


def test_a_folder_without_what_is_asked_for(home, smoke_settings, tiny_networks, tmp_path):
    model = load(home.vq)
    no_ar = f"{home.vq} holds no weights 'ar'; name a joint, ar or t2i checkpoint."
    assert said(model.sample, 3) == no_ar
    assert said(model.likelihood, np.zeros((1, 16), int), 3) == no_ar
    assert said(load, home.vq, home.joint) == no_ar
    assert said(load, tmp_path / "none").startswith(f"{tmp_path}/none/weights.safetensors is miss")
    neither = (
        f"{home.study}/teacher/dinov2 holds no weights 'ar'; name a joint, ar or t2i checkpoint."
    )
    assert said(load, home.study / "teacher/dinov2") == neither
    assert said(gear.load, home.vq, device="gpu") == (
        "there is no device 'gpu'; `device` is cuda or cpu."
    )
    codes = smoke_settings(**{"tokenizer.codebook_size": 32})
    save(tmp_path / "codes", codes, tokenizer=tiny_networks.tokenizer(codes))
    assert said(load, home.joint, tmp_path / "codes") == (
        f"the AR of {home.joint} reads 16 codes, the tokenizer of {tmp_path}/codes makes 32; name "
        "the tokenizer that the AR was trained on."
    )


def test_images_that_do_not_fit(home, images):
    model = load(home.vq)
    for function in (model.encode, model.reconstruct):
        assert said(function, images / 255) == (
            "images are float32 of shape (3, 1, 16, 16); give uint8 (N, C, H, W)."
        )
        assert "shape (1, 16, 16); give uint8" in said(function, images[0])
        assert "shape (0, 1, 16, 16); give uint8" in said(function, images[:0])
        coloured = said(function, images.repeat(1, 3, 1, 1))
        assert coloured == "images have 3 channels, the tokenizer reads 1; give (N, 1, H, W)."
        wide = "images have 12 x 16 pixels; give squares of a multiple of 4, the tokenizer's downs"
        assert said(function, images[..., :12]).startswith(wide)
        assert "images have 15 x 15 pixels" in said(function, images[..., :15, :15])
        assert "images are <U9 of shape ()" in said(function, "photo.png")


def test_tokens_that_do_not_fit(home):
    model, tokens = load(home.joint), np.zeros((2, 16), int)
    assert said(model.decode, tokens + 16) == (
        "tokens hold 16, but the checkpoint knows 0 to 15; they were made for another checkpoint."
    )
    assert said(model.decode, tokens / 1) == "tokens are float64; they must be whole numbers."
    for wrong in (tokens[0], tokens[:, :15], tokens[:0]):
        assert f"tokens have shape {wrong.shape}; give (N, T)" in said(model.decode, wrong)
    assert said(model.decode, [[1, 2], [3]]).startswith("tokens are no array of numbers (")
    likelihood = model.likelihood
    assert "tokens have shape (2, 9), but the checkpoint's AR reads (images, 16)" in said(
        likelihood, tokens[:, :9], 3
    )
    assert "tokens hold -1" in said(likelihood, tokens - 1, 3)
    assert said(likelihood, tokens, 10) == "class 10 is unknown; the checkpoint has 0 to 9."
    assert said(likelihood, tokens, [3, 10]).startswith("labels hold 10, but the checkpoint knows")
    assert said(likelihood, tokens, [3]) == (
        "labels have shape (1,) for 2 images; give one class for all with `classes`."
    )
    assert said(likelihood, tokens, None) == ("name either `classes` or `captions` of the images.")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"classes": [3, 10]}, "class 10 is unknown; the checkpoint has 0 to 9."),
        ({"classes": [3, 3]}, "`classes` has 3 twice; name each class once."),
        ({"classes": []}, "`classes` is []; write class numbers, such as [3, 207]."),
        ({"classes": "3,7"}, "`classes` is '3,7'; write class numbers, such as [3, 207]."),
        ({"count": 0}, "`count` is 0; it must be 1 to 1000000."),
        ({"count": 1.5}, "`count` is 1.5; write a whole number."),
        ({"seed": -1}, "`seed` is -1; it must be 0 to 9000000000."),
        ({"top_k": 1.5}, "`top_k` is 1.5; write a whole number."),
        ({"guidance": "1"}, "`guidance` is '1'; write a number."),
        ({"precision": "fp16"}, "`precision` is 'fp16'; it is fp32 or bf16."),
        ({"guidance": float("nan")}, "`guidance` is nan; write a number, such as 1.5."),
        *(
            (wrong, "`temperature` must be above 0, `top_p` in (0, 1] and `top_k` at least 0.")
            for wrong in ({"temperature": 0}, {"top_p": 1.5}, {"top_k": -1})
        ),
    ],
)
def test_what_cannot_be_sampled(home, options, sentence):
    assert said(load(home.joint).sample, **({"classes": [3]} | options)) == sentence


# ---- the package ---------------------------------------------------------------------------------


def test_importing_gear_loads_no_torch():
    code = (
        "import sys, gear\nassert not {'torch', 'numpy'} & set(sys.modules)\n"
        "assert callable(gear.load) and gear.Model.sample and callable(gear.evaluate)\n"
        "assert {'load', 'Model', 'evaluate', '__version__'} <= set(dir(gear))\n"
        "assert gear.__version__ and not hasattr(gear, 'nothing')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_class_is_named_by_its_number_or_its_folder(home):
    named = save(
        home.study / "ar/named/400k", home.settings, {"classes": ["cats", "dogs", "7"]}, ar=home.ar
    )
    model = load(named, home.vq)
    assert [model.class_number(word) for word in ("1", "dogs", "7")] == [1, 1, 7]
    assert [model.class_name(number) for number in (1, 2, 3)] == ["1 (dogs)", "2 (7)", "3"]
    with pytest.raises(Mistake, match="`classes` has 'dog'; .* Did you mean 'dogs'?"):
        model.class_number("dog")
    with pytest.raises(Mistake, match=r"has 'dog'; write class numbers, such as 3,207\.$"):
        load(home.joint).class_number("dog")
