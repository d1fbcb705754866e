"""Images for gear evaluate, and the command on them.

A small network stands for Inception here, which tests/unit/test_inception.py is about, so that a
distance takes no seconds."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gear.cli import main as cli
from gear.evaluation import reference
from gear.features import inception

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


@pytest.fixture
def adm_reference(features):
    """adm_reference(path, **more): as ADM publishes one. Moments, here of the images, in
    TensorFlow's order; and images."""

    def write(path, **more):
        arrays = {}
        for part, (mean, cov) in reference.MOMENTS.items():
            x = features["real"].part(part)
            arrays |= {mean: x.mean(0), cov: np.cov(x.astype(np.float64), rowvar=False)}
        np.savez_compressed(path, **(arrays | more))
        return path

    return write
