"""Repositories with results to save, and fresh clones of them; real git, dvc and Snakemake."""

import pytest
from repositories import Repository, repository
from shared import built_once, copied


def build(folder):
    repository(folder).mini("table")


def save(made, folder):
    """A copy of the mini study, saved, committed and pushed to `remote` beside it."""
    repository = Repository(copied(made.folder, folder / "gear"))
    repository.artifacts("save", "data/mini", "results/mini", "--states")
    repository.git("commit", "--quiet", "--message", "results")
    repository.artifacts("remote", str(folder / "remote"))
    repository.artifacts("push", "data/mini", "results/mini", "--states")


@pytest.fixture(scope="session")
def mini_built(tmp_path_factory):
    """The mini study, made but not saved. All workers share it: it is only read."""
    return Repository(built_once(tmp_path_factory, "mini", build))


@pytest.fixture
def built(mini_built, tmp_path):
    """A copy of it, with the same times."""
    return Repository(copied(mini_built.folder, tmp_path / "built"))


@pytest.fixture(scope="session")
def mini_saved(mini_built, tmp_path_factory):
    """The mini study, saved, committed and pushed to `remote` beside it; it is only read."""
    folder = built_once(tmp_path_factory, "saved", lambda folder: save(mini_built, folder))
    return Repository(folder / "gear")


@pytest.fixture
def remote(mini_saved, tmp_path):
    return copied(mini_saved.folder.parent / "remote", tmp_path / "remote")


@pytest.fixture
def clone(mini_saved, tmp_path, remote):
    """A fresh clone of the saved mini study that knows the remote."""
    return mini_saved.clone(tmp_path / "clone", remote)
