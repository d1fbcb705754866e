"""Every command that writes meets a file system without room, and goes on when there is some.

The commands of a small study follow each other on a tmpfs, which no limit of this process stands in
for. Each runs first with no room at all, then with room for half of what it writes.
"""

import os
import shutil

import checkpoints
import mounts
import pytest
import torch
from chain import DATA, TIMES, R, commands, execute, tree

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    path = tmp_path_factory.mktemp("theirs") / "vq.pt"
    torch.save(checkpoints.content("vq"), path)
    return str(path)


def size_of(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def fails_in_a_sentence(name, words, log, disk):
    """The command says that there is no room for one of its files, and loses nothing."""
    before = tree(disk.folder)
    status, said = execute(words, log)
    last = said.strip().splitlines()[-1] if said.strip() else ""
    print(f"{name}: {status} {last}")
    assert status == 1 and "Traceback" not in said, said
    assert "there is no room for " in last or "No space left on device" in last, said
    named = last.split("no room for ")[-1].split(";")[0]
    assert (R in named or DATA in named) and "/." not in named, last
    after = tree(disk.folder)
    # a training writes metrics.jsonl as it goes, and writes it again at its next start
    finished = [k for k in before if not k.endswith("metrics.jsonl")]
    assert [k for k in finished if after.get(k) != before[k]] == []
    new = {k for k in after.keys() - before.keys() if not k.endswith(TIMES)}
    assert not [k for k in new if ".part" in k or "partial" in k], new
    return after


def test_no_room_is_said_in_a_sentence_and_the_same_command_goes_on(theirs, tmp_path, monkeypatch):
    roomy, log = tmp_path / "roomy", tmp_path / "log.txt"
    roomy.mkdir()
    sizes = {}
    monkeypatch.chdir(roomy)
    for name, (words, written) in commands(theirs).items():
        status, said = execute(words, log)
        assert status == 0, f"{name}: {said}"
        sizes[name] = size_of(roomy / written)
    with mounts.disk("24m") as disk:
        monkeypatch.chdir(disk.folder)
        for name, (words, _) in commands(theirs).items():
            for room in (0, sizes[name] // 2):
                filling = disk.fill()
                os.truncate(filling, max(0, filling.stat().st_size - room))
                fails_in_a_sentence(f"{name}, room of {room}", words, log, disk)
                filling.unlink()
            status, said = execute(words, log)
            assert status == 0, f"{name}: {said}"
        made = tree(disk.folder)
        monkeypatch.chdir(tmp_path)
        whole = tree(roomy)
        shutil.rmtree(roomy)
        assert [k for k in sorted(made | whole) if made.get(k) != whole.get(k)] == []
        assert made.keys() == whole.keys()
