"""gear evaluate: what is said of a wrong file."""

import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from gear.evaluation import anyone
from gear.features import inception

approx = pytest.approx
FAKE = 30  # images


def test_too_few_samples(refused, world):
    said = refused(images=None)
    assert said == (
        f"{world}/fake holds 30 images, the protocol needs exactly 50000; draw that many, or say "
        "--images 30 and compare only with values of as many."
    )
    assert "holds 30 images, the protocol needs exactly 31" in refused(images=31)


def test_wrong_resolution(refused, world, tmp_path, photo):
    with np.load(world / "fake.npz") as file:
        np.savez(tmp_path / "large.npz", arr_0=file["arr_0"].repeat(2, axis=1).repeat(2, axis=2))
    said = refused(samples=tmp_path / "large.npz")
    assert "large.npz has images of 64 x 64 pixels, the reference's have 32 x 32; resize" in said
    shutil.copytree(world / "fake", tmp_path / "mixed")
    photo(30, 32, 1).save(tmp_path / "mixed/b/1.png")
    said = refused(samples=tmp_path / "mixed")
    assert "b/1.png has 30 x 32 pixels, a/0.png has 32 x 32; give images of one size" in said


def test_a_reference_of_another_protocol(gear, refused, tmp_path, adm_reference):
    gear(protocol="clean", save_reference=tmp_path / "clean.npz")
    said = refused(reference=tmp_path / "clean.npz")
    assert "clean.npz is a reference of protocol clean, not of adm; features of two" in said
    np.savez(tmp_path / "bare.npz", mu=np.zeros(24), sigma=np.eye(24))
    said = refused(reference=tmp_path / "bare.npz")
    assert "bare.npz has no mu_s, which protocol adm needs (it holds mu, sigma); it is of" in said
    np.savez(tmp_path / "dino.npz", mu=np.zeros(1024), sigma=np.eye(1024))
    said = refused(protocol="clean", reference=tmp_path / "dino.npz")
    assert "mu has shape (1024,)" in said and "a reference of another protocol" in said
    said = refused(reference=adm_reference(tmp_path / "moments.npz"))
    assert "has moments alone, but adm also compares single images" in said
    spoilt = {"sigma": np.full((24, 24), np.nan)}
    path = adm_reference(tmp_path / "nan.npz", arr_0=np.zeros((5, 32, 32, 3), np.uint8))
    assert gear(protocol="clean", reference=path)["metrics"]["gfid"] > 0
    np.savez(tmp_path / "nan.npz", mu=np.zeros(24), **spoilt)
    said = refused(protocol="clean", reference=tmp_path / "nan.npz")
    assert "pooled moments hold NaN or infinity; download it again" in said
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    assert "has no mu, which protocol adm needs (it holds x)" in refused(
        reference=tmp_path / "other.npz"
    )
    assert "none.npz is missing; name the ref" in refused(reference=tmp_path / "none.npz")
    assert refused(reference=None) == (
        "protocol adm compares with a reference; name it with --reference."
    )


def test_a_reference_made_with_other_weights(gear, refused, tmp_path, weights):
    kept = tmp_path / "kept.npz"
    gear(save_reference=kept, protocol="clean")
    state = torch.load(weights[0])
    state["1.bias"] += 1
    torch.save(state, tmp_path / "other.pth")
    sha256 = inception.verified(tmp_path / "other.pth", "")
    said = refused(protocol="clean", reference=kept, weights=tmp_path / "other.pth", sha256=sha256)
    assert f"made with weights of sha256 {weights[1][:8]}..., the network has" in said


def test_nan_features(refused, tmp_path, weights):
    state = torch.load(weights[0])
    for name, number in (("nan", math.nan), ("large", 3e38)):  # large: its products overflow
        state["0.weight"][0] = number
        torch.save(state, tmp_path / f"{name}.pth")
        sha256 = inception.verified(tmp_path / f"{name}.pth", "")
        said = refused(protocol="clean", weights=tmp_path / f"{name}.pth", sha256=sha256)
        if name == "nan":
            assert "'0.weight' has numbers that are not finite" in said
    assert "of 32 of 32 images hold NaN or infinity; check the images and the weights" in said


def test_a_missing_class(refused, gear, world, tmp_path):
    shutil.copytree(world / "fake", tmp_path / "fake")
    shutil.rmtree(tmp_path / "fake/b")
    said = refused(samples=tmp_path / "fake", images=FAKE // 2)
    assert said.startswith(f"{tmp_path}/fake has no image of class b; draw all classes")
    with np.load(world / "fake.npz") as file:
        labels = 2 * file["arr_1"]
        np.savez(tmp_path / "gap.npz", arr_0=file["arr_0"], arr_1=labels)
        np.savez(tmp_path / "odd.npz", arr_0=file["arr_0"], arr_1=labels[:2])
    assert "gap.npz has no image of class 1; draw" in refused(samples=tmp_path / "gap.npz")
    said = refused(samples=world / "fake.npz", classes=1000)
    assert "fake.npz has no image of class 2 and 997 more; draw all classes" in said
    assert "arr_1 is int64 of shape (2,); labels" in refused(samples=tmp_path / "odd.npz")


def test_a_lossy_archive_is_only_warned_of(gear, world, tmp_path, capsys):
    for path in (world / "fake").rglob("*.png"):
        target = tmp_path / "jpeg" / path.relative_to(world / "fake").with_suffix(".jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(target, quality=90)
    anyone.open_samples(tmp_path / "jpeg")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"gear: warning: {tmp_path}/jpeg holds JPEG files (a/0.jpg); their loss")
    anyone.open_samples(world / "fake")
    assert capsys.readouterr().err == ""
    found = gear(samples=tmp_path / "jpeg", protocol="clean")["metrics"]["gfid"]
    assert found != approx(gear(protocol="clean")["metrics"]["gfid"], rel=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("side", ["samples", "reference"])
def test_a_torn_archive(refused, world, tmp_path, side, share):
    whole = (world / "fake.npz").read_bytes()
    (tmp_path / "torn.npz").write_bytes(whole[: int(share * len(whole))])
    said = refused(**{side: tmp_path / "torn.npz"})
    assert said.startswith(f"{tmp_path}/torn.npz is no complete .npz file (")
    assert said.endswith("make or download it again.")


def test_an_archive_whose_numbers_were_changed(refused, world, tmp_path):
    """Its checksum tells, when its end is reached."""
    whole = bytearray((world / "fake.npz").read_bytes())
    whole[5000] ^= 1
    (tmp_path / "bad.npz").write_bytes(whole)
    said = refused(samples=tmp_path / "bad.npz", protocol="clean")
    assert "bad.npz is no complete .npz file (Bad CRC-32" in said


def test_files_that_are_no_images(refused, world, tmp_path):
    np.savez(tmp_path / "tokens.npz", tokens=np.zeros((3, 4)))
    np.savez(tmp_path / "float.npz", arr_0=np.zeros((FAKE, 8, 8, 3)))
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("tokens.npz", "holds no images (arr_0), but tokens; name an archive of images"),
        ("float.npz", "arr_0 is float64 of shape (30, 8, 8, 3); images are uint8 (N, H, W, 3)"),
        ("empty", "holds no images (.bmp,"),
        ("none.npz", "is no folder and no .npz file; name the images"),
    ):
        assert message in refused(samples=tmp_path / name)


def test_missing_weights(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused(weights=None, sha256=None)
    assert said.startswith("weights/pt_inception-2015-12-05-6726825d.pth is missing; put the Incep")
    said = refused(protocol="fdd", weights=None, sha256=None)
    assert said.startswith("weights/dinov2_vitl14_pretrain.pth is missing; put DINOv2's weights")


def test_reconstructions_without_their_originals(refused, world):
    said = refused(protocol="reconstruction")
    assert said.startswith("a/30 is in one of") and "the same name" in said
    said = refused(protocol="reconstruction", samples=world / "fake.npz")
    assert "compares files by name; give folders of images" in said


def test_captions_are_asked_for(refused, tmp_path):
    said = refused(protocol="clip_score")
    assert said == "protocol clip_score compares with captions; name them with --captions."
    (tmp_path / "c.txt").write_text("one\n")
    said = refused(protocol="clip_score", captions=tmp_path / "c.txt")
    assert "c.txt holds 1 captions for 30 images; give one for each image" in said
