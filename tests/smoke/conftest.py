"""The smoke study, built once, from nothing, for all tests."""

import shutil

import pytest
from checkout import ROOT, Checkout, copy_of
from shared import built_once, copied

from gear.launch.warm import Warm
from gear.study import jobs
from gear.study.registry import Study


def build(folder):
    status, text = copy_of(ROOT, folder).snakemake("all")
    assert status == 0, text[-5000:]


@pytest.fixture(scope="session")
def warm():
    """The socket of a warm process for the jobs of many runs: each start of one takes seconds."""
    process = Warm()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEAR_WARM", "")  # so that it is put back
        path = process.start(jobs.imports(Study("smoke")))
    yield path
    process.stop()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory, warm):
    """A copy of the finished smoke study, for one worker."""
    built = built_once(tmp_path_factory, "smoke", build)
    made = Checkout(copied(built, tmp_path_factory.mktemp("checkout") / "gear"))
    made.warm = warm
    return made


@pytest.fixture
def edited_checkout(checkout):
    """The finished checkout, whose config/ is put back after the test."""
    shutil.copytree(checkout.folder / "config", checkout.folder / "config.kept")
    yield checkout
    shutil.rmtree(checkout.folder / "config")
    (checkout.folder / "config.kept").rename(checkout.folder / "config")
