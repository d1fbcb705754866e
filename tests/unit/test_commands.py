"""gear reconstruct, sample and likelihood, on tiny checkpoints with random weights."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from gear.cli import main as cli
from gear.files import aside as files
from gear.runtime import checkpoint
from gear.sampling.generate import Sampler, draw

approx = pytest.approx
SIDE = 16  # pixels of the smoke study's images; 4 x 4 tokens of 16 codes


def save(folder, settings, **modules):
    """A checkpoint folder as training writes it."""
    checkpoint.save_weights(folder / "weights.safetensors", modules)
    files.write_json(folder / "run.json", {"settings": dataclasses.asdict(settings)})
    return folder


@pytest.fixture
def home(tmp_path, smoke_settings, tiny_networks):
    """Checkpoints: tokenizer (with another one as its live weights), ar, and both in joint; gray
    images in images/."""
    settings = smoke_settings()
    tokenizer, ar = tiny_networks.tokenizer(settings).eval(), tiny_networks.ar(settings)
    live = {
        "live.tokenizer": tiny_networks.tokenizer(settings, seed=9),
        "live.ar": tiny_networks.ar(settings, 9),
    }
    both = {"tokenizer": tokenizer, "live.tokenizer": live["live.tokenizer"]}
    save(tmp_path / "tokenizer", settings, **both)
    save(tmp_path / "ar", settings, ar=ar, **{"live.ar": live["live.ar"]})
    save(tmp_path / "joint", settings, ar=ar, **both)
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png", "sub/c.png", "10.png", "9.png"):
        picture(tmp_path / "images" / name, rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8))
    return SimpleNamespace(path=tmp_path, tokenizer=tokenizer, ar=ar, settings=settings)


def picture(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def pixels(path):
    with Image.open(path) as image:
        return image.mode, np.asarray(image)


def gear(command, **options):
    """Run a command; True stands for an option without a value."""
    words = [command]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    assert cli.main([*words, "--device", "cpu"]) is None


def refused(command, **options):
    with pytest.raises(SystemExit) as error:
        gear(command, **options)
    said = str(error.value)
    assert said.startswith("gear: ") and "\n" not in said
    return said[6:]


# reconstruct

NAMES = ["10.png", "9.png", "a.png", "b.png", "sub/c.png"]  # sorted


def reconstruct(home, **options):
    folders = {"tokenizer": home.path / "tokenizer", "images": home.path / "images"}
    gear("reconstruct", **(folders | {"output": home.path / "out"} | options))


def by_hand(home, names=NAMES):
    """(images in [-1, 1], tokens, reconstructions), one image at a time, from the networks."""
    x = [torch.from_numpy(pixels(home.path / "images" / n)[1].copy()).float() for n in names]
    x = [(each / 255 * 2 - 1)[None, None] for each in x]
    with torch.no_grad():
        z = [home.tokenizer.encode(each) for each in x]
        tokens = [home.tokenizer.quantizer.assignment(each).hard() for each in z]
        return x, tokens, [home.tokenizer.decode(t) for t in tokens]


def test_pngs_are_the_decoded_tokens(home):
    reconstruct(home, tokens=home.path / "tokens.npz")
    _, tokens, recon = by_hand(home)
    with np.load(home.path / "tokens.npz") as file:
        assert file["names"].tolist() == NAMES and file["tokens"].dtype == np.int32
        assert np.array_equal(file["tokens"], torch.cat(tokens).numpy())
    for name, expected in zip(NAMES, recon, strict=True):
        mode, found = pixels(home.path / "out" / name)
        wanted = ((expected[0, 0] + 1) / 2 * 255).clamp(0, 255)
        assert mode == "L" and np.abs(found - wanted.numpy()).max() <= 0.5 + 1e-3
    files = sorted(
        p.relative_to(home.path / "out").as_posix() for p in (home.path / "out").rglob("*")
    )
    assert files == sorted([*NAMES, "sub"])  # nothing else is left behind


def test_scores_are_of_unrounded_reconstructions(home, capsys):
    reconstruct(home, json=True)
    found = json.loads(capsys.readouterr().out)
    x, _, recon = by_hand(home)
    a = [(each[0, 0].double().numpy() + 1) / 2 for each in x]
    b = [(each[0, 0].double().numpy() / 2 + 0.5).clip(0, 1) for each in recon]
    pairs = list(zip(a, b, strict=True))
    assert found == {
        "images": 5,
        "l1": approx(np.mean([np.abs(p - q).mean() for p, q in pairs]), rel=1e-6),
        "psnr": approx(
            np.mean([-10 * np.log10(((p - q) ** 2).mean()) for p, q in pairs]), rel=1e-6
        ),
        "ssim": approx(
            np.mean([structural_similarity(p, q, data_range=1) for p, q in pairs]), abs=1e-6
        ),
    }
    reconstruct(home, force=True)
    assert capsys.readouterr().out.startswith(f"{home.path}/out: 5 images of 16 x 16 pixels; L1 0.")


def test_images_are_brought_to_the_resolution(home, smoke_settings, tiny_networks):
    """Short side bicubic, then the centre; colour for a tokenizer that reads colour."""
    settings = smoke_settings(**{"data.channels": 3})
    tokenizer = tiny_networks.tokenizer(settings).eval()
    save(home.path / "colour", settings, tokenizer=tokenizer)
    wide = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    picture(home.path / "wide/x.png", wide)
    options = {"tokenizer": home.path / "colour", "images": home.path / "wide"}
    reconstruct(home, **options, resolution=24, tokens=home.path / "t.npz")
    square = Image.fromarray(wide).resize((36, 24), Image.Resampling.BICUBIC).crop((6, 0, 30, 24))
    x = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        tokens = tokenizer.tokens(x)
        expected = ((tokenizer.decode(tokens)[0] + 1) * 127.5).clamp(0, 255).permute(1, 2, 0)
    mode, found = pixels(home.path / "out/x.png")
    assert mode == "RGB" and np.abs(found - expected.numpy()).max() <= 0.5 + 1e-3
    with np.load(home.path / "t.npz") as file:
        assert np.array_equal(file["tokens"], tokens.numpy()) and tokens.shape == (1, 36)


def test_the_batch_does_not_matter(home, monkeypatch):
    reconstruct(home, tokens=home.path / "one.npz")
    monkeypatch.setattr("gear.cli.reconstruct.PIXELS", 2 * SIDE**2)
    reconstruct(home, tokens=home.path / "two.npz", output=home.path / "again")
    assert (home.path / "one.npz").read_bytes() == (home.path / "two.npz").read_bytes()
    for name in NAMES:
        assert (
            pixels(home.path / "out" / name)[1].tolist()
            == pixels(home.path / "again" / name)[1].tolist()
        )


def test_a_failure_leaves_the_earlier_result(home, monkeypatch):
    reconstruct(home)
    before = {name: (home.path / "out" / name).read_bytes() for name in NAMES}
    for name in NAMES:
        picture(home.path / "images" / name, np.zeros((SIDE, SIDE), np.uint8))
    (home.path / "images/sub/c.png").write_bytes(b"no picture")
    monkeypatch.setattr("gear.cli.reconstruct.PIXELS", SIDE**2)  # the last image alone fails
    said = refused("reconstruct", tokenizer=home.path / "tokenizer", images=home.path / "images",
                   output=home.path / "out", tokens=home.path / "t.npz", force=True)  # fmt: skip
    assert "images/sub/c.png cannot be read as an image" in said
    assert {name: (home.path / "out" / name).read_bytes() for name in NAMES} == before
    assert not list((home.path / "out").glob(".*")) and not (home.path / "t.npz").exists()


def test_reconstruct_mistakes(home):
    p = home.path
    good = {"tokenizer": p / "tokenizer", "images": p / "images", "output": p / "out"}

    def said(**changes):
        return refused("reconstruct", **(good | changes))

    (p / "empty").mkdir()
    (p / "empty/.hidden.png").write_bytes(b"")
    (p / "empty/readme.txt").write_text("no image")
    assert said(images=p / "empty").startswith(f"{p}/empty holds no images (.bmp, .gif,")
    assert said(images=p / "none") == f"{p}/none is no folder; name the folder of the images."
    assert said(tokenizer=p / "none").startswith(f"{p}/none/weights.safetensors is missing;")
    assert said(tokenizer=p / "ar").startswith(f"{p}/ar holds no weights 'tokenizer'; name a")
    assert "lie in each other" in said(output=p / "images")
    assert "lie in each other" in said(output=p / "images/sub/new")
    assert "lie in each other" in said(output=p)
    assert "a multiple of 4, the tokenizer's downsampling" in said(resolution=18)
    assert "a multiple of 4" in said(resolution=0)
    assert said(output=p / "ar/run.json") == (
        f"--output {p}/ar/run.json cannot be a folder; a file has that name."
    )
    picture(p / "images/a.bmp", np.zeros((SIDE, SIDE), np.uint8))
    assert said() == "a.bmp and a.png would both become a.png; rename one."
    assert not (p / "out").exists()


# sample


def sample(home, **options):
    common = {"checkpoint": home.path / "joint", "classes": "3,7", "count": 3, "guidance": 1.5}
    gear("sample", **(common | {"output": home.path / "grid.png"} | options))


def drawn(path):
    with np.load(path) as file:
        return {name: file[name] for name in ("tokens", "labels", "seeds")}


def test_tokens_are_those_of_a_plain_draw(home):
    sample(home, tokens=home.path / "t.npz", seed=2, top_k=9, top_p=0.9, temperature=1.1)
    found = drawn(home.path / "t.npz")
    assert found["labels"].tolist() == [3, 3, 3, 7, 7, 7]
    assert found["tokens"].shape == (6, 16) and len(set(found["seeds"].tolist())) == 6
    sampler = Sampler(1, guidance=1.5, top_k=9, top_p=0.9, temperature=1.1)
    for i in range(6):  # one image at a time
        label = torch.tensor([int(found["labels"][i])])
        alone = draw(home.ar, home.ar.condition(label), found["seeds"][i : i + 1], sampler)
        assert np.array_equal(found["tokens"][i], alone[0].numpy())


def test_the_grid_has_a_row_per_class(home):
    sample(home, tokens=home.path / "t.npz")
    tokens = drawn(home.path / "t.npz")["tokens"]
    mode, grid = pixels(home.path / "grid.png")
    times = 64 // SIDE  # small images are enlarged, pixel by pixel
    assert mode == "L" and grid.shape == (2 * 64, 3 * 64)
    assert (grid == grid[::times, ::times].repeat(times, 0).repeat(times, 1)).all()
    grid = grid[::times, ::times]
    for i, row in enumerate(tokens):
        with torch.no_grad():
            expected = home.tokenizer.decode(torch.from_numpy(row)[None].long())[0, 0]
        top, left = i // 3 * SIDE, i % 3 * SIDE
        tile = grid[top : top + SIDE, left : left + SIDE]
        assert np.abs(tile - ((expected + 1) * 127.5).clamp(0, 255).numpy()).max() <= 0.5 + 1e-3


def test_colour_grids(home, smoke_settings, tiny_networks):
    settings = smoke_settings(**{"data.channels": 3})
    tokenizer = tiny_networks.tokenizer(settings).eval()
    save(home.path / "colour", settings, tokenizer=tokenizer, ar=home.ar)
    sample(home, checkpoint=home.path / "colour", tokens=home.path / "t.npz", count=2)
    mode, grid = pixels(home.path / "grid.png")
    with torch.no_grad():
        tokens = torch.from_numpy(drawn(home.path / "t.npz")["tokens"][2:3]).long()
        expected = ((tokenizer.decode(tokens)[0] + 1) * 127.5).clamp(0, 255).permute(1, 2, 0)
    assert mode == "RGB" and grid.shape == (128, 128, 3)
    assert np.abs(grid[::4, ::4][16:, :16] - expected.numpy()).max() <= 0.5 + 1e-3


def test_the_same_seed_gives_the_same_file(home):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        sample(home, tokens=home.path / f"{name}.npz", output=home.path / f"{name}.png", seed=seed)
    a, b, c = ((home.path / f"{x}.npz").read_bytes() for x in "abc")
    assert a == b != c
    assert (home.path / "a.png").read_bytes() == (home.path / "b.png").read_bytes()


def test_an_image_does_not_depend_on_the_others(home, monkeypatch):
    monkeypatch.setattr("gear.model.DRAWN", 2)
    sample(home, tokens=home.path / "small.npz")
    monkeypatch.setattr("gear.model.DRAWN", 64)
    sample(home, tokens=home.path / "large.npz", classes="7,0,3", count=5, force=True)
    small, large = drawn(home.path / "small.npz"), drawn(home.path / "large.npz")
    assert np.array_equal(small["tokens"][3:], large["tokens"][:3])  # class 7
    assert np.array_equal(small["tokens"][:3], large["tokens"][10:13])  # class 3


def test_a_tokenizer_may_be_named(home, smoke_settings, tiny_networks):
    other = tiny_networks.tokenizer(home.settings, seed=5).eval()
    save(home.path / "other", home.settings, tokenizer=other)
    sample(home, output=home.path / "own.png", tokens=home.path / "own.npz")
    for name, tokenizer in (("same", "tokenizer"), ("other", "other")):
        sample(home, checkpoint=home.path / "ar", tokenizer=home.path / tokenizer,
               output=home.path / f"{name}.png", tokens=home.path / f"{name}.npz")  # fmt: skip
    own, same, other = (pixels(home.path / f"{n}.png")[1] for n in ("own", "same", "other"))
    assert np.array_equal(own, same) and not np.array_equal(own, other)
    own, other = (drawn(home.path / f"{name}.npz")["tokens"] for name in ("own", "other"))
    assert np.array_equal(own, other)


def test_a_tokenizer_of_another_resolution_serves(home, smoke_settings, tiny_networks):
    """The frozen tokenizer of the resolution study was trained at 256 pixels."""
    settings = smoke_settings(**{"data.resolution": 24})
    save(home.path / "large", settings, ar=tiny_networks.ar(settings))
    sample(home, checkpoint=home.path / "large", tokenizer=home.path / "tokenizer")
    assert pixels(home.path / "grid.png")[1].shape == (2 * 3 * 24, 3 * 3 * 24)  # 3 times enlarged


def test_sample_mistakes(home, smoke_settings, tiny_networks):
    p = home.path
    good = {"checkpoint": p / "joint", "classes": "3", "output": p / "grid.png"}
    codes, levels = (
        smoke_settings(**{"tokenizer.codebook_size": 32}),
        smoke_settings(**{"tokenizer.multipliers": [1, 2]}),
    )
    save(p / "codes", codes, tokenizer=tiny_networks.tokenizer(codes))
    save(p / "levels", levels, tokenizer=tiny_networks.tokenizer(levels))

    def said(**changes):
        return refused("sample", **(good | changes))

    assert said(classes="3,10") == "class 10 is unknown; the checkpoint has 0 to 9."
    assert said(classes="3,x") == "--classes has 'x'; write class numbers, such as 3,207."
    assert said(classes="3,3") == "--classes has 3 twice; name each class once."
    assert said(output=p / "grid.jpg").endswith("ends in .png, such as grid.png.")
    assert said(checkpoint=p / "tokenizer").startswith(f"{p}/tokenizer holds no weights 'ar'; name")
    assert said(checkpoint=p / "ar").startswith(f"{p}/ar holds no weights 'tokenizer'; name the")
    assert said(checkpoint=p / "none").startswith(f"{p}/none/weights.safetensors is missing;")
    assert said(tokenizer=p / "codes") == (
        f"the AR of {p}/joint reads 16 codes, the tokenizer of {p}/codes makes 32; name the "
        "tokenizer that the AR was trained on."
    )
    assert "reads 16 tokens an image, the tokenizer of" in said(tokenizer=p / "levels")
    assert said(count=0).startswith("--count is 0; it must be 1 to")
    assert said(seed=-1).startswith("--seed is -1; it must be 0 to")
    for wrong in ({"temperature": 0}, {"top_p": 1.5}, {"top_p": 0}, {"top_k": -1}):
        assert said(**wrong).startswith("--temperature must be above 0, --top-p in (0, 1]")
    assert said(guidance="nan") == "--guidance is nan; write a number, such as 1.5."
    assert not (p / "grid.png").exists() and not (p / "grid.jpg").exists()


# likelihood


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


def likelihood(home, path, **options):
    gear("likelihood", checkpoint=home.path / "ar", tokens=path, **options)


@pytest.fixture
def tokens():
    return np.random.default_rng(3).integers(0, 16, (7, 16)).astype(np.int32)


def loss_by_hand(ar, tokens, labels):
    """- mean log p(token), from one forward pass per image and a softmax written out."""
    each = []
    for row, label in zip(torch.from_numpy(tokens).long(), labels, strict=True):
        with torch.no_grad():
            logits = ar(ar.embedding(row[None, :-1]), ar.condition(torch.tensor([label])))[0][0]
        p = logits.double().exp() / logits.double().exp().sum(-1, keepdim=True)
        each += [-float(p[position, token].log()) for position, token in enumerate(row)]
    return np.mean(each)


def test_likelihood_is_the_cross_entropy(home, tokens, capsys):
    labels = np.arange(7) % 3
    path = write(home.path / "t.npz", tokens=tokens, labels=labels)
    likelihood(home, path, json=True)
    found = json.loads(capsys.readouterr().out)
    expected = loss_by_hand(home.ar, tokens, labels)
    assert found["ntp"] == approx(expected, rel=1e-6)
    assert found["perplexity"] == approx(np.exp(expected), rel=1e-6)
    assert (found["images"], found["tokens"]) == (7, 112)
    likelihood(home, path)
    said = (
        f"{expected:.4f} nats per token (perplexity {np.exp(expected):.2f}; 7 images of 16 tokens)"
    )
    assert capsys.readouterr().out == said + "\n"


def test_one_class_for_all(home, tokens, capsys):
    path = write(home.path / "t.npz", tokens=tokens, labels=np.zeros(7, int))
    likelihood(home, path, json=True, **{"class": 4})
    found = json.loads(capsys.readouterr().out)["ntp"]
    assert found == approx(loss_by_hand(home.ar, tokens, [4] * 7), rel=1e-6)
    assert found != approx(loss_by_hand(home.ar, tokens, [0] * 7), rel=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_the_batch_of_a_likelihood_does_not_matter(home, tokens, batch):
    from gear.model import mean_loss

    labels = np.arange(7)
    found = mean_loss(home.ar, torch.from_numpy(tokens).long(), torch.from_numpy(labels), batch)
    assert found == approx(loss_by_hand(home.ar, tokens, labels), rel=1e-6)


def test_what_sample_draws_has_a_likelihood(home, capsys):
    """Drawn with little noise, tokens are likelier than random ones."""
    sample(home, tokens=home.path / "t.npz", temperature=0.3, guidance=1)
    likelihood(home, home.path / "t.npz", json=True)
    reconstruct(home, tokens=home.path / "r.npz", tokenizer=home.path / "joint")
    likelihood(home, home.path / "r.npz", json=True, **{"class": 1})
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("{")]
    likely, random = (json.loads(line)["ntp"] for line in lines)
    assert likely < random
    reconstruct(home, tokens=home.path / "other.npz", output=home.path / "more")
    options = {"checkpoint": home.path / "joint", "tokens": home.path / "other.npz", "class": 1}
    assert "other.npz: its tokens were made by a tokenizer with sha256" in refused(
        "likelihood", **options
    )


def test_likelihood_mistakes(home, tokens):
    p = home.path

    def said(checkpoint="ar", **arrays):
        options = {"class": arrays.pop("label")} if "label" in arrays else {}
        path = write(p / "t.npz", **arrays) if arrays else p / "none.npz"
        return refused("likelihood", checkpoint=p / checkpoint, tokens=path, **options)

    labels = np.zeros(7, int)
    where = f"{p}/t.npz"
    assert said().startswith(f"{p}/none.npz does not exist; name an .npz")
    assert said(labels=labels) == f"{where} has no array 'tokens'; draw the tokens again."
    assert (
        said(tokens=tokens)
        == f"{where} has no array 'labels'; give one class for all with --class."
    )
    wide = np.zeros((7, 15), int)
    assert "tokens have shape (7, 15), but the checkpoint's AR reads (images, 16)" in said(
        tokens=wide, labels=labels
    )
    assert "tokens have shape (0, 16)" in said(
        tokens=wide[:0, :0].reshape(0, 16), labels=labels[:0]
    )
    assert "tokens have shape (16,)" in said(tokens=tokens[0], labels=labels)
    large, small = tokens.copy(), tokens.copy()
    large[2, 3], small[2, 3] = 16, -1
    assert "tokens hold 16, but the checkpoint knows 0 to 15" in said(tokens=large, labels=labels)
    assert "tokens hold -1, but the checkpoint knows" in said(tokens=small, labels=labels)
    assert "tokens are float64; they must be whole" in said(tokens=tokens * 1.0, labels=labels)
    assert "labels hold 10, but the checkpoint knows 0 to 9" in said(
        tokens=tokens, labels=labels + 10
    )
    assert "labels have shape (6,) for 7 images" in said(tokens=tokens, labels=labels[:6])
    assert said(tokens=tokens, label=10) == "class 10 is unknown; the checkpoint has 0 to 9."
    assert "holds no weights 'ar'; name a joint" in said("tokenizer", tokens=tokens, labels=labels)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn", None])
def test_a_torn_token_file_is_named(home, tokens, content):
    path = write(home.path / "t.npz", tokens=tokens, labels=np.zeros(7, int))
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    said = refused("likelihood", checkpoint=home.path / "ar", tokens=path)
    assert said.startswith(f"{path} is no complete .npz file (")


def test_an_array_alone_is_no_token_file(home, tokens):
    np.save(home.path / "t.npy", tokens)
    said = refused("likelihood", checkpoint=home.path / "ar", tokens=home.path / "t.npy")
    assert "is no complete .npz file" in said


def test_the_old_name_of_likelihood_says_the_new_one(home, tokens):
    said = refused("score", checkpoint=home.path / "ar", tokens=home.path / "t.npz")
    assert said == "`gear score` is now `gear likelihood`; write that."


# what they share


def test_no_such_device(home):
    options = {"checkpoint": home.path / "ar", "tokens": home.path / "t.npz"}
    words = [f"--{k}={v}" for k, v in options.items()]
    for device, message in (
        ("gpu", "gear: there is no device 'gpu'; --device is cuda or cpu."),
        ("meta", "gear: device 'meta' is not supported; --device is cuda or cpu."),
        ("cuda:99", "gear: --device cuda:99 is asked for, but torch sees "),
    ):
        with pytest.raises(SystemExit) as error:
            cli.main(["likelihood", *words, "--device", device])
        assert str(error.value).startswith(message)


def test_what_cannot_be_written_is_one_sentence(home):
    (home.path / "file").write_text("")
    said = refused("sample", checkpoint=home.path / "joint", classes=1, count=1,
                   output=home.path / "file/grid.png")  # fmt: skip
    assert f"{home.path}/file" in said


def test_a_folder_that_is_no_checkpoint(home):
    (home.path / "ar/run.json").write_text('{"shape": 3}')
    path = write(home.path / "t.npz", tokens=np.zeros((1, 16), int))
    said = refused("likelihood", checkpoint=home.path / "ar", tokens=path)
    assert said.startswith(f"{home.path}/ar/run.json states no settings; name the folder of a")


def test_help_and_comparison_load_no_torch():
    import subprocess
    import sys

    code = (
        "import sys\nfrom gear.cli import main as cli\n"
        "try:\n    cli.main(['compare', '/nowhere', '/nowhere'])\nexcept SystemExit: pass\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'pandas')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("compare", "plan", "reconstruct", "sample", "likelihood"):
        assert f"    {name} " in done.stdout


@pytest.mark.parametrize("verb", ["sample", "likelihood", "reconstruct"])
def test_a_run_without_its_step_names_the_steps(home, verb):
    for step in ("100k", "400k"):
        shutil.copytree(home.path / "joint", home.path / "run" / step)
    options = {
        "sample": {"checkpoint": home.path / "run", "classes": 1, "output": home.path / "x.png"},
        "likelihood": {"checkpoint": home.path / "run", "tokens": home.path / "t.npz"},
        "reconstruct": {"tokenizer": home.path / "run", "output": home.path / "x"},
    }[verb]
    if verb == "reconstruct":
        Image.new("RGB", (20, 20)).save(home.path / "a.png")
        options["images"] = home.path
        options["output"] = home.path.parent / "x"
    said = refused(verb, **options)
    assert "name one of the run's steps" in said
    assert "run/100k, " in said and said.endswith("run/400k.")


def test_a_misspelt_option_is_named_before_those_that_are_missing(capsys):
    for words, said in (
        (["sample", "--checkpiont", "x"], "no option --checkpiont. Did you mean '--checkpoint'?"),
        (["plan", "--studi=demo"], "no option --studi. Did you mean '--study'?"),
        (["plan", "--study", "demo", "--targt=x"], "--targt. Did you mean '--target'?"),
        (["plann", "--study", "demo"], "invalid choice: 'plann'"),
    ):
        with pytest.raises(SystemExit):
            cli.main(words)
        assert said in capsys.readouterr().err
