"""The smoke study, built once, from nothing, for all tests."""

import shutil

import pytest
from checkout import ROOT, copy_of


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """The smoke study, finished."""
    checkout = copy_of(ROOT, tmp_path_factory.mktemp("checkout") / "gear")
    status, text = checkout.snakemake("all")
    assert status == 0, text[-5000:]
    return checkout


@pytest.fixture
def edited_checkout(checkout):
    """The finished checkout, whose config/ is put back after the test."""
    shutil.copytree(checkout.folder / "config", checkout.folder / "config.kept")
    yield checkout
    shutil.rmtree(checkout.folder / "config")
    (checkout.folder / "config.kept").rename(checkout.folder / "config")
