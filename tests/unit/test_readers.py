"""What is no readable file ends in one sentence, and no reader leaves out files without a word.

Files of each kind are made here: pipes, folders, links, archives that lie about their content, and
folders of images of which one part is not read."""

import os
import subprocess
import sys

import damage
import numpy as np
import pytest
from PIL import Image

from gear.artifacts.units import checked_jobs
from gear.cli import main as cli
from gear.data import finding
from gear.data.folder import load_folder
from gear.data.transforms import open_image
from gear.evaluation import anyone
from gear.evaluation.images import Folder, require_all_classes
from gear.files import arrays, reading
from gear.files.mistakes import Mistake, memory_said
from gear.foreign import source
from gear.launch import slurm
from gear.metrics.clip_score import read_captions
from gear.runtime import checkpoint
from gear.runtime.state import load as load_state
from gear.study.configfiles import read_yaml

READERS = {
    "yaml": read_yaml,
    "run.json": reading.read_record,
    "csv": reading.read_csv,
    "npz": lambda path: arrays.read_arrays(path, ("tokens",)),
    "weights": lambda path: checkpoint.holds(path, "ar"),
    "state": load_state,
    "image": lambda path: open_image(path, 3),
    "captions": lambda path: read_captions(path, 1),
    "public": lambda path: source.read(f"{path}.pt"),
}


def images(folder, *names, size=(4, 4)):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (i, 0, 0)).save(folder / name)
    return folder


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "missing"])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, reader, kind):
    path = tmp_path / ("x.pt" if reader == "public" else "x")
    {"pipe": os.mkfifo, "folder": os.mkdir, "missing": str}.get(
        kind, lambda path: os.symlink("/dev/zero", path)
    )(path)
    with pytest.raises(Mistake, match=f"{path} is (missing|a .*and no file)") as caught:
        READERS[reader](tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_an_array_that_claims_more_than_it_holds_takes_no_memory(tmp_path):
    head = damage.npy(np.zeros(3)).replace(b"(3,)", b"(10**9,)"[:4])
    for member in (head, damage.npy(np.zeros(3)).replace(b"(3,), }", b"(2000000000,), }"[:7])):
        (tmp_path / "x.npz").write_bytes(damage.npz({"tokens": member[:-1]}))
        with pytest.raises(Mistake, match="x.npz .*; make or download it again.$"):
            arrays.read_arrays(tmp_path / "x.npz", ("tokens",))


def test_a_bomb_of_anchors_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    (tmp_path / "x.yaml").write_text("\n".join(lines))
    with pytest.raises(Mistake, match="x.yaml repeats anchors more than"):
        read_yaml(tmp_path / "x.yaml")


def test_full_memory_is_one_sentence_and_a_bug_is_none(monkeypatch):
    alloc = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9")
    assert memory_said(alloc).startswith("there is not enough memory (")
    assert memory_said(MemoryError()) and memory_said(RuntimeError("shape mismatch")) is None
    for error, raised in ((alloc, SystemExit), (RuntimeError("a bug"), RuntimeError)):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr("gear.report.compare.compare", fail)
        with pytest.raises(raised):
            cli.main(["compare", "a", "b"])


def test_a_record_of_artifacts_with_another_sha256_is_named():
    job = {"rule": "r", "code": "c", "params": [], "software": "s", "seconds": 1}
    with pytest.raises(Mistake, match="x.prov.json: the sha256 of a is 'ab cd'; take it from git"):
        checked_jobs({"jobs": [job | {"inputs": {}, "outputs": {"a": "ab cd"}}]}, "x.prov.json")


# ---- folders of images ---------------------------------------------------------------------------


def test_a_reader_says_what_of_a_folder_it_does_not_read(tmp_path, capsys):
    images(tmp_path, "a/1.png", "a/2.tif", "a/3.gif", "a/4.ppm", "b/5.jfif", "b/.6.png")
    (tmp_path / "b/notes.txt").write_text("no image")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    found, left_out = finding.find_images(tmp_path)
    assert found == ["a/1.png", "a/2.tif", "a/3.gif", "a/4.ppm", "b/5.jfif"]
    assert left_out == {".txt": 1, "hidden": 1, "link to a folder that is read already": 1}
    samples = anyone.open_samples(tmp_path)
    said = capsys.readouterr().err.splitlines()[0]
    assert said == (
        f"gear: warning: {tmp_path}: 3 entries are not read as images (1 .txt, 1 hidden, 1 link to "
        "a folder that is read already)."
    )
    with pytest.raises(Mistake, match="holds 5 images .1 .txt, .* are not read., the protocol"):
        anyone.require_exact(samples, 6)


def test_class_folders_that_are_numbers_have_their_labels(tmp_path):
    images(tmp_path, *(f"train/{i}/x.png" for i in range(12)))
    _, labels, names = load_folder(tmp_path, "train", 3, 4, 12)
    assert [int(name.split("/")[0]) for name in names] == labels.tolist() == list(range(12))
    assert finding.in_order_of_labels(["n10", "n2", "10", "9"]) == ["10", "9", "n10", "n2"]


@pytest.mark.parametrize(
    "file, content", [("c.txt", "\n".join("abc")), ("c.json", '["a","b","c"]')]
)
def test_captions_by_position_need_names_in_the_order_of_numbers(tmp_path, file, content):
    (tmp_path / file).write_text(content)
    assert read_captions(tmp_path / file, 3, ["img.png", "img1.png", "img2.png"]) == list("abc")
    with pytest.raises(Mistake, match="10.png comes before 2.png; write the numbers"):
        read_captions(tmp_path / file, 3, ["1.png", "10.png", "2.png"])


def test_originals_are_paired_by_name_whatever_their_endings(tmp_path):
    ours = Folder(images(tmp_path / "a", "x.png", "x.b.png"))
    theirs = Folder(images(tmp_path / "b", "x.BMP", "x.b.BMP"))
    assert [n.rpartition(".")[0] for n in ours.names] != [
        n.rpartition(".")[0] for n in theirs.names
    ]
    anyone.paired(ours, theirs)
    assert [n.rpartition(".")[0] for n in ours.names] == [
        n.rpartition(".")[0] for n in theirs.names
    ]
    twins = Folder(images(tmp_path / "c", "x.png", "x.b.png", "x.bmp"))
    with pytest.raises(Mistake, match="holds x.bmp and x.png, of which only one can be compared"):
        anyone.paired(twins, theirs)


def test_shards_are_no_classes_and_numbers_are_compared_as_numbers(tmp_path, capsys):
    shards = Folder(images(tmp_path / "s", "00/1.png", "01/2.png"))
    require_all_classes(shards, np.array(["n01", "n02"]), None)
    assert "they count as parts of one set and not as classes" in capsys.readouterr().err
    numbered = Folder(images(tmp_path / "n", "0/1.png", "1/2.png", "2/3.png"))
    require_all_classes(numbered, None, 3)
    require_all_classes(numbered, np.array([0, 1, 2]), None)
    with pytest.raises(
        Mistake, match="no image of class 3; .* no classes, put the images into one"
    ):
        require_all_classes(numbered, np.array([0, 1, 2, 3]), None)
    named = Folder(images(tmp_path / "w", "cat/1.png", "dog/2.png"))
    require_all_classes(named, None, 2)
    with pytest.raises(Mistake, match="no image of class number 3"):
        require_all_classes(named, None, 3)


# ---- sentences -----------------------------------------------------------------------------------


def test_notices_of_a_site_and_odd_settings_of_slurm_are_passed_over():
    lines = "NOTICE: maintenance | on Monday\n\np*|UNLIMITED|2|4|8000|(null)\nq|n/a|0|n/a|n/a|\n"
    found = slurm.parse(lines, "MinJobAge = N/A\n")
    assert list(found.partitions) == ["p"] and found.partitions["p"][0].runtime == float("inf")
    assert not list(found.problems([slurm.Need("draw")], wait=40))


def test_the_module_is_the_command():
    for module in ("gear", "gear.cli"):
        done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True)
        assert done.returncode == 0 and b"usage: gear" in done.stdout
