"""gear evaluate on folders and archives; what a wrong file is told.

A small network stands for Inception here, which tests/unit/test_inception.py is about, so that a
distance takes no seconds."""

import contextlib
import io
import json
import math
import shutil
import warnings

import cleanfid.fid
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch_fidelity import metric_fid

import gear as api
from gear.cli import main as cli
from gear.evaluation import anyone, networks, reference
from gear.features import inception
from gear.files.mistakes import Mistake
from gear.metrics import PROTOCOLS, protocol
from gear.metrics.frechet import Statistics, frechet_distance

approx = pytest.approx
REAL, FAKE = 40, 30  # images


class Small(torch.nn.Module):
    """Three taps of 24, 18 and 10 numbers, of images as Inception reads them."""

    def __init__(self):
        super().__init__()
        self.network = torch.nn.Sequential(torch.nn.Conv2d(3, 24, 9, 20), torch.nn.Linear(24, 10))

    def forward(self, x):
        h = torch.relu(self.network[0](x))
        pooled = h.square().mean((2, 3))
        return pooled, h[:, :2, ::5, ::5].permute(0, 2, 3, 1).flatten(1), self.network[1](pooled)


WIDTHS = {"adm": {"pooled": 24, "spatial": 18}, "clean": {"pooled": 24}, "coco": {"pooled": 24}}


@pytest.fixture(scope="module", autouse=True)
def _small_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "Inception", Small)
        patch.setattr(reference, "WIDTHS", reference.WIDTHS | WIDTHS)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """(path, sha256)"""
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(Small().network.state_dict(), path)
    return path, inception.verified(path, "")


@pytest.fixture(scope="module")
def world(tmp_path_factory, photo):
    """Folders real/ and fake/ of PNGs in two classes, and archives of both."""
    root = tmp_path_factory.mktemp("anyone")
    for name, count, first in (("real", REAL, 0), ("fake", FAKE, 50)):
        pictures = [np.asarray(photo(32, 32, first + i)) for i in range(count)]
        for i, picture in enumerate(pictures):
            path = root / name / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
        ordered = pictures[::2] + pictures[1::2]
        labels = np.arange(count) >= (count + 1) // 2
        np.savez(root / f"{name}.npz", arr_0=np.stack(ordered), arr_1=labels.astype(int))
    return root


@pytest.fixture
def gear(world, weights, capsys):
    """gear(option=value, ...) -> the JSON that it prints."""

    def run(**options):
        given = {"samples": world / "fake", "reference": world / "real", "protocol": "adm"}
        given |= {"weights": weights[0], "sha256": weights[1], "images": FAKE}
        words = []
        for name, value in (given | options).items():
            if value is not None:
                words += [f"--{name.replace('_', '-')}", str(value)]
        assert cli.main(["evaluate", *words, "--json", "--device", "cpu"]) is None
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refused(gear):
    def run(**options):
        with pytest.raises(SystemExit) as error:
            gear(**options)
        said = str(error.value)
        assert said.startswith("gear: ") and "\n" not in said and said.endswith(".")
        return said[6:]

    return run


@pytest.fixture(scope="module")
def features(world, weights):
    """adm Features of both sides, from the arrays."""
    network, _ = inception.load(*weights)
    found = {}
    for name in ("real", "fake"):
        with np.load(world / f"{name}.npz") as file:
            found[name] = torch.from_numpy(file["arr_0"]).permute(0, 3, 1, 2).contiguous()
    return {name: inception.adm(network, images) for name, images in found.items()}


def theirs(features, part):
    """torch-fidelity's distance."""
    sides = [torch.from_numpy(features[n].part(part)).double() for n in ("fake", "real")]
    statistics = [metric_fid.fid_features_to_statistics(x) for x in sides]
    found = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    return found["frechet_inception_distance"]


def test_adm_of_folders_and_of_archives(gear, world, features):
    found = gear(images=FAKE)
    assert found["protocol"] == "adm" and found["images"] == FAKE
    assert found["metrics"]["gfid"] == approx(theirs(features, "pooled"), rel=1e-4)
    assert found["metrics"]["sfid"] == approx(theirs(features, "spatial"), rel=1e-4)
    assert set(found["metrics"]) == {"gfid", "sfid", "is", "precision", "recall"}
    assert 0 < found["error_bounds"]["gfid"] < 1e-3 * found["metrics"]["gfid"]
    assert 0 < found["metrics"]["precision"] < 1 and 1 < found["metrics"]["is"] < 10
    assert found["settings"]["split_size"] == 5000 and found["settings"]["neighbours"] == 3
    archives = gear(samples=world / "fake.npz", reference=world / "real.npz")
    assert archives["metrics"] == approx(found["metrics"], rel=1e-4)


def adm_reference(path, features, **more):
    """As ADM publishes one: moments, here of the images, in TensorFlow's order; and images."""
    arrays = {}
    for part, (mean, cov) in reference.MOMENTS.items():
        x = features["real"].part(part)
        arrays |= {mean: x.mean(0), cov: np.cov(x.astype(np.float64), rowvar=False)}
    np.savez_compressed(path, **(arrays | more))
    return path


def test_adms_own_reference(gear, world, features, tmp_path):
    with np.load(world / "real.npz") as file:
        images = file["arr_0"]
    path = adm_reference(tmp_path / "adm.npz", features, arr_0=images)
    found = gear(reference=path)
    assert found["metrics"] == approx(gear()["metrics"], rel=1e-3)
    # its moments are those of the training set, and count in place of its images'
    shifted = {"mu": features["real"].pooled_ND.mean(0) + 1}
    path = adm_reference(tmp_path / "shifted.npz", features, arr_0=images, **shifted)
    moved = gear(reference=path)["metrics"]
    assert moved["gfid"] > found["metrics"]["gfid"] + 10
    assert {k: moved[k] for k in ("sfid", "precision")} == approx(
        {k: found["metrics"][k] for k in ("sfid", "precision")}
    )


def test_a_saved_reference_gives_the_same(gear, world, tmp_path):
    kept = tmp_path / "kept.npz"
    first = gear(save_reference=kept)
    assert gear(reference=kept)["metrics"] == first["metrics"]
    assert [p.name for p in tmp_path.iterdir()] == ["kept.npz"]


def test_clean_is_clean_fid_from_end_to_end(gear, world, weights):
    network, _ = inception.load(*weights)
    files = {n: sorted(map(str, (world / n).rglob("*.png"))) for n in ("real", "fake")}

    def model(x):
        return network(inception.centred(x))[0]

    options = {"num_workers": 0, "device": torch.device("cpu"), "verbose": False, "mode": "clean"}
    x, y = (
        cleanfid.fid.get_files_features(files[n], model=model, **options).astype(np.float64)
        for n in ("fake", "real")
    )
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        wanted = cleanfid.fid.frechet_distance(
            x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False)
        )
    found = gear(protocol="clean")["metrics"]
    assert found == {"gfid": approx(wanted, rel=1e-4)}


def test_coco_brings_files_of_any_shape_to_256_pixels(gear, tmp_path, photo, weights):
    network, _ = inception.load(*weights)
    moments = []
    for name, first in (("real", 0), ("fake", 90)):
        crops = []
        for i, shape in enumerate([(320, 256), (256, 256), (160, 200)] * 2):
            picture = photo(*shape, first + i)
            (tmp_path / name).mkdir(exist_ok=True)
            picture.save(tmp_path / name / f"{i}.png")
            scale = 256 / min(shape)
            picture = picture.resize([int(side * scale) for side in shape], Image.BICUBIC)
            left, top = ((side - 256) // 2 for side in picture.size)
            crops.append(np.asarray(picture.crop((left, top, left + 256, top + 256))))
        x = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        moments.append(Statistics.of(inception.pytorch_fid(network, x).pooled_ND))
    sides = {"samples": tmp_path / "fake", "reference": tmp_path / "real", "images": 6}
    found = gear(protocol="coco", **sides)["metrics"]
    assert found == {"fid": approx(frechet_distance(*moments), rel=1e-6)}


def test_reconstruction_pairs_files_by_name(gear, world, tmp_path):
    originals, recon = tmp_path / "original", tmp_path / "recon"
    wanted = {"psnr": [], "ssim": [], "l1": []}
    rng = np.random.default_rng(0)
    for i, path in enumerate(sorted((world / "fake").rglob("*.png"))):
        x = np.asarray(Image.open(path)).astype(int)
        y = (x + rng.integers(-20, 20, x.shape)).clip(0, 255)
        for folder, picture in ((originals, x), (recon, y)):
            (folder / "sub").mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(folder / "sub" / f"{i}.png")
        a, b = x / 255, y / 255
        wanted["psnr"].append(peak_signal_noise_ratio(a, b, data_range=1))
        wanted["ssim"].append(structural_similarity(a, b, channel_axis=2, data_range=1))
        wanted["l1"].append(np.abs(a - b).mean())
    found = gear(protocol="reconstruction", samples=recon, reference=originals)["metrics"]
    assert {k: found[k] for k in wanted} == approx({k: np.mean(v) for k, v in wanted.items()}, 1e-6)
    same = gear(protocol="reconstruction", samples=originals, reference=originals)
    assert same["metrics"]["rfid"] <= same["error_bounds"]["rfid"] < found["rfid"]


def test_the_function_gives_what_the_command_prints(gear, world, weights, tmp_path):
    options = {"weights": weights[0], "sha256": weights[1], "images": FAKE, "device": "cpu"}
    sides = world / "fake.npz", world / "real.npz"
    printed = gear(samples=sides[0], reference=sides[1])
    assert json.loads(json.dumps(api.evaluate(*sides, protocol="adm", **options))) == printed
    with np.load(sides[0]) as file:
        images = file["arr_0"].transpose(0, 3, 1, 2)
    for samples in (images, torch.from_numpy(images)):
        assert api.evaluate(samples, sides[1], protocol="adm", **options) == printed


def test_mistakes_of_the_function_name_its_parameters(world):
    images = np.zeros((3, 3, 32, 32), np.uint8)
    for samples, options, said in (
        (images, {}, "the array holds 3 images, the protocol needs exactly 50000; draw that many, "
         "or say `images` 3 and compare only with values of as many."),
        (images, {"images": 3},
         "protocol adm compares with a reference; name it with `reference`."),
        (images[:, :1], {}, "the array is uint8 of shape (3, 1, 32, 32); images are uint8 (N, 3, "
         "H, W)."),
        (images / 255, {}, "the array is float64 of shape (3, 3, 32, 32); images are uint8 (N, 3, "
         "H, W)."),
        (images[:0], {"images": 1}, "the array is uint8 of shape (0, 3, 32, 32); images are uint8 "
         "(N, 3, H, W)."),
        (3, {}, "3 is no path and no array; name the images."),
        (images, {"images": 0}, "`images` is 0; it must be a whole number from 1."),
        (images, {"protocol": "amd"}, "there is no protocol 'amd'. Did you mean 'adm'?"),
        (images, {"device": "gpu"}, "there is no device 'gpu'; `device` is cuda or cpu."),
    ):  # fmt: skip
        with pytest.raises(Mistake) as error:
            api.evaluate(samples, **({"protocol": "adm", "device": "cpu"} | options))
        assert str(error.value) == said


def test_every_protocol_is_offered():
    built = {*protocol.PROTOCOLS, "reconstruction", "clip_score"} - {"demo"}
    assert set(PROTOCOLS) == built
    assert set(networks.WAYS) == set(reference.WIDTHS) == set(protocol.PROTOCOLS) - {"demo"}


# ---- bad input -----------------------------------------------------------------------------------


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


def test_a_reference_of_another_protocol(gear, refused, tmp_path, features):
    gear(protocol="clean", save_reference=tmp_path / "clean.npz")
    said = refused(reference=tmp_path / "clean.npz")
    assert "clean.npz is a reference of protocol clean, not of adm; features of two" in said
    np.savez(tmp_path / "bare.npz", mu=np.zeros(24), sigma=np.eye(24))
    said = refused(reference=tmp_path / "bare.npz")
    assert "bare.npz has no mu_s, which protocol adm needs (it holds mu, sigma); it is of" in said
    np.savez(tmp_path / "dino.npz", mu=np.zeros(1024), sigma=np.eye(1024))
    said = refused(protocol="clean", reference=tmp_path / "dino.npz")
    assert "mu has shape (1024,)" in said and "a reference of another protocol" in said
    said = refused(reference=adm_reference(tmp_path / "moments.npz", features))
    assert "has moments alone, but adm also compares single images" in said
    spoilt = {"sigma": np.full((24, 24), np.nan)}
    path = adm_reference(tmp_path / "nan.npz", features, arr_0=np.zeros((5, 32, 32, 3), np.uint8))
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
