"""The smoke study, built once, from nothing, for all tests."""

import shutil

import pytest
from checkout import ROOT, copy_of


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """The smoke study, finished."""
    house = copy_of(ROOT, tmp_path_factory.mktemp("house") / "gear")
    status, text = house.snakemake("all")
    assert status == 0, text[-5000:]
    return house


@pytest.fixture
def edited(house):
    """The finished house, whose config/ is put back after the test."""
    shutil.copytree(house.folder / "config", house.folder / "config.kept")
    yield house
    shutil.rmtree(house.folder / "config")
    (house.folder / "config.kept").rename(house.folder / "config")
