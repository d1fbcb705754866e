"""A study that is scored as the paper's: photographs, drawing and scoring as jobs of their own,
Inception's weights (random numbers in the real layout) and a reference of ADM's form."""

import json

import inceptions
import numpy as np
import pytest
import torch
from checkout import ROOT, copy_of
from PIL import Image

from gear.features import inception
from gear.sampling.decode import decode
from gear.tokenizer.load import load_frozen

IMAGES, CLASSES, VAL = 12, 3, 6
CHECKPOINT = "joint/gear-b/400k"
CHANGES = (  # of the smoke study, whose captions are left out
    ("  t2i: {50k: 1, 100k: 2, 200k: 3, 390k: 4}\n", ""),
    (", gpic, t2i_configuration, t2i_control]", "]"),
    (", t2i_dynamics, t2i_samples]", "]"),
    ("together: true", "together: false"),
    ("data: {train: 128, val: 64, seed: 0}", "data: {}"),
    (
        "data: {source: digits, hold: memory, path: data/digits-smoke, resolution: 16, "
        "channels: 1, classes: 10, flip: false}",
        "data: {path: data/photos, resolution: 16, classes: 3}",
    ),
    ("runtime: {threads: 1,", "runtime: {threads: 1, workers: 0,"),
    ("plain: {images: 64}", f"plain: {{images: {IMAGES}}}"),
    ("cfg: {images: 64,", f"cfg: {{images: {IMAGES},"),
    ("analysis: {images: 64, batch: 32,", f"analysis: {{images: {VAL}, batch: {VAL},"),
    (
        "generation: {name: demo, neighbours: 3, prdc_images: 64, images: 64}",
        f"generation: {{name: adm, neighbours: 3, images: {IMAGES}, split_size: 5}}",
    ),
    (
        "validation: {name: demo, images: 64}",
        f"validation: {{name: reconstruction, images: {VAL}, rounding: none}}",
    ),
)
FEATURES = (
    'features: {kind: standin, label: "stand-in classifier features", steps: 2, batch: 8, seed: 2}'
)


def photos(folder):
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", VAL // CLASSES)):
        for label in range(CLASSES):
            for i in range(count):
                path = folder / split / f"class{label}" / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def photo_study(tmp_path_factory, warm):
    """The checkout with a study `tiny`, and its Inception weights.

    This study has no warm process of its own; its jobs take the tests', and seconds less."""
    checkout = copy_of(ROOT, tmp_path_factory.mktemp("tiny") / "gear")
    checkout.warm = warm
    photos(checkout.folder / "data/photos")
    (checkout.folder / "weights").mkdir()
    weights, sha256 = inceptions.write(checkout.folder / "weights/random.pth")
    images = np.random.default_rng(1).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    moments = {"mu": np.zeros(2048), "sigma": np.eye(2048)}
    moments |= {"mu_s": np.zeros(2023), "sigma_s": np.eye(2023)}
    np.savez_compressed(checkout.folder / "weights/reference.npz", arr_0=images, **moments)
    text = (checkout.folder / "config/studies/smoke.yaml").read_text()
    for old, new in (
        *CHANGES,
        (
            FEATURES,
            f"features: {{kind: inception, label: random, weights: weights/random.pth, "
            f"sha256: '{sha256}', reference: weights/reference.npz}}",
        ),
    ):
        assert old in text, old
        text = text.replace(old, new)
    (checkout.folder / "config/studies/tiny.yaml").write_text(text)
    return checkout, weights, sha256


def test_drawing_scoring_and_validation_from_end_to_end(photo_study):
    checkout, weights, sha256 = photo_study
    root = checkout.folder / "results/tiny"
    targets = [f"results/tiny/metrics/{CHECKPOINT}/{n}.json" for n in ("plain", "validation")]
    status, text = checkout.snakemake(*targets, study="tiny")
    assert status == 0, text[-5000:]

    record = json.loads((root / "features/run.json").read_text())
    assert record["weights"] == {"name": "random.pth", "sha256": sha256}
    assert record["reference"]["sha256"] and record["protocol"] == "adm"

    found = json.loads((root / f"metrics/{CHECKPOINT}/plain.json").read_text())["adm"]
    assert set(found) == {"gfid", "sfid", "is", "precision", "recall"}
    with np.load(root / f"samples/{CHECKPOINT}/plain.npz") as samples:
        images = decode(load_frozen(root / CHECKPOINT), samples["tokens"])
    network, _ = inception.load(weights, sha256)
    features = inception.adm(network, images)
    for metric, x in (("gfid", features.pooled_ND), ("sfid", features.spatial_NS)):
        x = x.astype(np.float64)  # against mean 0 and covariance 1
        centred = (x - x.mean(0)) / np.sqrt(IMAGES - 1)
        wanted = (x.mean(0) ** 2).sum() + (centred**2).sum() + x.shape[1]
        wanted -= 2 * np.linalg.svd(centred, compute_uv=False).sum()
        assert found[metric] == pytest.approx(wanted, rel=1e-4)

    found = json.loads((root / f"metrics/{CHECKPOINT}/validation.json").read_text())
    assert set(found) == {"reconstruction", "codebook", "likelihood"}
    assert set(found["reconstruction"]) == {"rfid", "psnr", "ssim", "l1"}
    assert all(np.isfinite(list(part.values())).all() for part in found.values())
    assert found["reconstruction"]["rfid"] > 0 and torch.is_tensor(images)


def test_a_missing_file_is_named_at_once_and_nothing_is_written(photo_study):
    checkout, *_ = photo_study
    target = "elsewhere/tiny/features/run.json"
    reference = checkout.folder / "weights/reference.npz"
    reference.rename(checkout.folder / "weights/away.npz")
    try:
        status, text = checkout.snakemake(target, study="tiny", results="elsewhere")
    finally:
        (checkout.folder / "weights/away.npz").rename(reference)
    assert status != 0 and "Traceback" not in text
    assert "weights/reference.npz is missing; name the reference, an .npz or a folder" in text
    assert not (checkout.folder / "elsewhere/tiny/features/weights.safetensors").exists()
