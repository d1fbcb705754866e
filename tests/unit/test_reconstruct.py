"""gear reconstruct, on a tiny tokenizer with random weights."""

import json

import numpy as np
import pytest
import torch
from commands import NAMES, SIDE, picture, pixels, reconstruct, refused, save
from PIL import Image
from skimage.metrics import structural_similarity

approx = pytest.approx


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
