"""Folders of small photographs, as ImageNet's: class folders, files of any shape and size."""

import commands
import encoders
import inceptions
import numpy as np
import pytest
from PIL import Image

SHAPES = ((40, 30), (30, 40), (33, 33), (70, 17), (12, 21), (31, 16), (16, 16))  # width, height


def _photo(width, height, seed=0):
    """A smooth picture with some grain, different for each seed."""
    rng = np.random.default_rng([width, height, seed])
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    grain = rng.normal(0, 12, smooth.shape)
    return Image.fromarray((smooth + grain).round().clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photo():
    return _photo


@pytest.fixture(scope="session")
def image_folder():
    """image_folder(path, train=7, val=3): that many images in each of three classes."""

    def make(path, train=7, val=3):
        for split, count in (("train", train), ("val", val)):
            for c, name in enumerate(("n02", "n01", "n10")):
                folder = path / split / name
                folder.mkdir(parents=True)
                for i in range(count):
                    picture = _photo(*SHAPES[i % len(SHAPES)], seed=100 * c + i)
                    picture.save(folder / f"{name}_{i}.JPEG", quality=95)
        return path

    return make


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory):
    """(path, sha256) of random Inception weights in the real file's layout."""
    return inceptions.write(tmp_path_factory.mktemp("weights") / "random.pth")


@pytest.fixture
def home(tmp_path, smoke_settings, tiny_networks):
    """Tiny checkpoints and images: see commands.made."""
    return commands.made(tmp_path, smoke_settings(), tiny_networks)


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    """The folder of a tiny text encoder, made once. No test writes in it."""
    return encoders.write(tmp_path_factory.mktemp("encoder") / "text_encoder")
