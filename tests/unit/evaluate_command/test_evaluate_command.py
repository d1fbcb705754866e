"""gear evaluate on folders and archives."""

import contextlib
import io
import json
import warnings

import cleanfid.fid
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch_fidelity import metric_fid

import gear as api
from gear.evaluation import networks, reference
from gear.features import inception
from gear.files.mistakes import Mistake
from gear.metrics import PROTOCOLS, protocol
from gear.metrics.frechet import Statistics, frechet_distance

approx = pytest.approx
FAKE = 30  # images


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


def test_adms_own_reference(gear, world, features, adm_reference, tmp_path):
    with np.load(world / "real.npz") as file:
        images = file["arr_0"]
    path = adm_reference(tmp_path / "adm.npz", arr_0=images)
    found = gear(reference=path)
    assert found["metrics"] == approx(gear()["metrics"], rel=1e-3)
    # its moments are those of the training set, and count in place of its images'
    shifted = {"mu": features["real"].pooled_ND.mean(0) + 1}
    path = adm_reference(tmp_path / "shifted.npz", arr_0=images, **shifted)
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
    own = {"demo", "demo_text"}  # of the workflow alone
    built = {*protocol.PROTOCOLS, "reconstruction", "clip_score"} - own
    assert set(PROTOCOLS) == built
    assert set(networks.WAYS) == set(reference.WIDTHS) == set(protocol.PROTOCOLS) - own
