"""Repositories with results to save, and fresh clones of them; real git, dvc and Snakemake."""

import shutil
from pathlib import Path

import pytest
from repositories import Repository, repository


@pytest.fixture(scope="session")
def mini_built(tmp_path_factory):
    """The mini study, made but not saved."""
    made = repository(tmp_path_factory.mktemp("built") / "gear")
    made.mini("table")
    return made


@pytest.fixture
def built(mini_built, tmp_path):
    """A copy of it, with the same times."""
    return Repository(shutil.copytree(mini_built.folder, tmp_path / "built", symlinks=True))


@pytest.fixture(scope="session")
def mini_saved(mini_built, tmp_path_factory):
    """The mini study, saved, committed and pushed to `remote` beside it."""
    top = tmp_path_factory.mktemp("saved")
    made = Repository(shutil.copytree(mini_built.folder, top / "gear", symlinks=True))
    made.artifacts("save", "data/mini", "results/mini", "--states")
    made.git("commit", "--quiet", "--message", "results")
    made.artifacts("remote", str(top / "remote"))
    made.artifacts("push", "data/mini", "results/mini", "--states")
    return made


@pytest.fixture
def remote(mini_saved, tmp_path):
    return Path(shutil.copytree(mini_saved.folder.parent / "remote", tmp_path / "remote"))


@pytest.fixture
def clone(mini_saved, tmp_path, remote):
    """A fresh clone of the saved mini study that knows the remote."""
    return mini_saved.clone(tmp_path / "clone", remote)
