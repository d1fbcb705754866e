"""What the tests of the core share: the smoke study's settings and networks, random images."""

import shutil

import pytest
import tiny
import torch

from gear import config
from gear.study.registry import CONFIG, Study

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
def smoke_settings(smoke):
    """smoke_settings(run='gear-l', **{dotted setting: value}) -> Settings of the smoke study."""

    def make(run="gear-l", **changes):
        settings = smoke.runs[run].settings
        return config.build(config.difference(settings) | changes)

    return make


@pytest.fixture
def edited_config(tmp_path):
    """edited_config(file, old, new): a copy of config/ in which `old` is `new`."""
    folder = shutil.copytree(CONFIG, tmp_path / "config")

    def edit(file, old, new):
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        return folder

    return edit


@pytest.fixture(scope="session")
def random_images():
    return tiny.RandomImages


@pytest.fixture(scope="session")
def tiny_networks():
    """Tiny networks and trainers with fixed weights."""
    return tiny
