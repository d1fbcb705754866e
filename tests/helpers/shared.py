"""Folders that take long to build and that all worker processes of a test run share."""

import fcntl
import os
import shutil


def built_once(tmp_path_factory, name, build):
    """The folder `name`, which build(folder) has filled: the first worker that asks builds it and
    the others wait. Who changes something in it works on a copy."""
    top = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        top = top.parent
    folder, finished = top / name, top / f"{name}.finished"
    with open(top / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            build(folder)
            finished.touch()
    return folder


def copied(folder, target):
    """A copy of a folder with its links and times, which Snakemake compares."""
    return shutil.copytree(folder, target, symlinks=True)
