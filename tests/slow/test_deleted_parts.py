"""A file that a command reads was deleted: one sentence names it, or the command does without.

The commands of a small study follow each other; before each, its inputs are taken away one by one.
"""

import shutil
from pathlib import Path

import pytest
from chain import DATA, R, commands, execute

pytestmark = pytest.mark.slow

READ = (".safetensors", ".json", ".npz", ".csv")
FREE = {
    "curves.csv",
    "manifest.json",
    "reference.npz",
    "train",
    "3",
}  # what some command does not read


def inputs(words, written):
    """The files that a command is given, or that lie in the folders it is given."""
    for word in words:
        path = Path(word)
        if path.is_absolute() or len(word) > 200 or word.startswith(written):
            continue
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (p for p in found if p.is_file() and p.suffix in READ)
        if path.name == "manifest.json":
            yield from (path.parent / "train/3", path.parent / "train")


def remove(path):
    shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(missing_ok=True)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log, missed = tmp_path / "log.txt", {}
    chain = commands("theirs")
    del chain["import"], chain["table"]  # read nothing of the study
    for name, (words, written) in chain.items():
        words = [*words, "--force"] if name in ("sample", "export") else words
        for path in dict.fromkeys(inputs(words, written)):
            path.rename("kept")
            status, said = execute(words, log)
            Path("kept").rename(path)
            last = (said.strip().splitlines() or [""])[-1]
            print(f"{name} without {path}: {status} {last}")
            assert "Traceback" not in said, f"{name} without {path}: {said}"
            if status == 0:
                assert path.name in FREE, f"{name} did without {path}"
                remove(written)
            else:
                assert path.name in last or path.parent.name in last, f"{name}: {last}"
            missed[name] = missed.get(name, 0) + 1
        status, said = execute(words, log)
        assert status == 0, f"{name}: {said}"
    assert sum(missed.values()) > 30 and set(missed) == set(chain) - {"data"}
    assert Path(DATA).is_dir() and Path(R).is_dir()
