"""What the tests of the core share: the smoke study's settings and networks, random images."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gear import config
from gear.alignment.teachers.standin import StandinTeacher
from gear.ar.train import ARTrainer
from gear.ar.transformer import Transformer
from gear.data.memory import Batch
from gear.joint.train import JointTrainer
from gear.registry import CONFIG, Study
from gear.runtime import rng
from gear.tokenizer.autoencoder import Tokenizer
from gear.tokenizer.train import TokenizerTrainer

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """No test depends on which tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def smoke():
    return Study("smoke")


@pytest.fixture(scope="session")
def paper():
    return Study("paper")


@pytest.fixture(scope="session")
def tiny(smoke):
    """tiny(run='gear-l', **{dotted setting: value}) -> Settings of the smoke study."""

    def make(run="gear-l", **changes):
        settings = smoke.runs[run].settings
        return config.build(config.difference(settings) | changes)

    return make


@pytest.fixture
def edited(tmp_path):
    """edited(file, old, new): a copy of config/ in which `old` is `new`."""
    folder = shutil.copytree(CONFIG, tmp_path / "config")

    def edit(file, old, new):
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        return folder

    return edit


class RandomImages:
    """The interface of gear.data.memory.ImageSet, without a folder."""

    def __init__(self, settings, count=64):
        data, self.size = settings.data, settings.optim.batch
        shape = (count, data.channels, data.resolution, data.resolution)
        place = np.arange(np.prod(shape)).reshape(shape)
        self.images = torch.from_numpy(rng.uniform(("images",), place)).float() * 2 - 1
        self.labels = torch.arange(count) % data.classes

    def batch(self, step):
        epoch, position = divmod(step, len(self.images) // self.size)
        chosen = np.arange(position * self.size, (position + 1) * self.size)
        return Batch(self.images[chosen], self.labels[chosen], chosen, epoch)


@pytest.fixture(scope="session")
def images():
    return RandomImages


def _teacher(settings):
    data = settings.data
    torch.manual_seed(7)
    patch = 2 ** (len(settings.tokenizer.multipliers) - 1)
    teacher = StandinTeacher(data.channels, data.resolution, data.classes, patch, 16, 1)
    return teacher.eval().requires_grad_(False)


def _tokenizer(settings, seed=1):
    torch.manual_seed(seed)
    return Tokenizer(settings.tokenizer, settings.data.channels)


def _ar(settings, seed=2, head=0.5):
    """An AR in eval mode whose head is not zero, so that its logits say something."""
    torch.manual_seed(seed)
    side = settings.data.resolution // 2 ** (len(settings.tokenizer.multipliers) - 1)
    ar = Transformer(settings.ar, settings.tokenizer.codebook_size, settings.data.classes, side)
    torch.nn.init.normal_(ar.head.weight, 0.0, head)
    return ar.eval()


def _trainer(stage, settings):
    torch.manual_seed(3)
    if stage == "tokenizer":
        return TokenizerTrainer(settings)
    if stage == "joint":
        return JointTrainer(settings, _teacher(settings))
    frozen = _tokenizer(settings).eval().requires_grad_(False)
    return ARTrainer(settings, frozen, _teacher(settings))


@pytest.fixture(scope="session")
def make():
    """Tiny networks and trainers with fixed weights."""
    return SimpleNamespace(teacher=_teacher, tokenizer=_tokenizer, ar=_ar, trainer=_trainer)
