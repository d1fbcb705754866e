"""Digits: same settings, same bytes; a split that no source crosses. Folder: each mistake named.

Bytes are compared between two runs and with recorded digests, pixels with the source images.
"""

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gear.data import digits
from gear.data.folder import load_folder, manifest_digest

SETTINGS = {"size": 16, "train": 200, "val": 100, "seed": 0}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "digits"
    digits.prepare(root, **SETTINGS)
    return root


@pytest.fixture
def root(prepared, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(prepared, tmp_path / "digits")


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# digits


def test_two_runs_are_byte_identical(prepared, tmp_path):
    digits.prepare(tmp_path / "again", **SETTINGS)
    assert contents(tmp_path / "again") == contents(prepared)


def test_the_bytes_are_the_ones_that_the_results_were_made_from(prepared):
    # A failure here means that every result of the demo has to be made again.
    assert (
        manifest_digest(prepared)
        == "347ed8aa21fff2b12c6ad3c4d40a284aa77f8648321b46e5ba638ef459e770bb"
    )


def test_another_seed_is_another_set(prepared, tmp_path):
    digits.prepare(tmp_path / "other", **{**SETTINGS, "seed": 1})
    assert manifest_digest(tmp_path / "other") != manifest_digest(prepared)


def test_a_smaller_set_is_the_beginning_of_a_larger_one(prepared, tmp_path):
    digits.prepare(tmp_path / "small", **{**SETTINGS, "train": 20, "val": 10})
    small = contents(tmp_path / "small")
    small.pop(Path("manifest.json"))
    assert len(small) == 30
    assert small.items() <= contents(prepared).items()


def test_sources_are_split_before_augmentation():
    _, labels = digits.load_sources()
    split = {name: list(numbers) for name, numbers in digits.split_sources(labels, 0).items()}
    assert (len(split["train"]), len(split["val"])) == (1500, 297)
    assert sorted(split["train"] + split["val"]) == list(range(1797))
    for numbers in split.values():
        start = Counter(labels[numbers[:100]].tolist())  # any beginning is balanced
        assert max(start.values()) - min(start.values()) <= 1


def test_no_source_of_val_is_in_train(tmp_path):
    root = tmp_path / "digits"
    digits.prepare(root, size=8, train=1600, val=400, seed=0)
    files = {s: list((root / s).rglob("*.png")) for s in digits.SPLITS}
    sources = {s: {p.stem.split("-")[0] for p in found} for s, found in files.items()}
    assert {s: len(found) for s, found in files.items()} == {"train": 1600, "val": 400}
    assert {s: len(found) for s, found in sources.items()} == {"train": 1500, "val": 297}
    assert not sources["train"] & sources["val"]
    assert {p.stem.split("-")[1] for p in files["train"]} == {"00", "01"}


def test_manifest_counts_what_is_there(prepared):
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert manifest["settings"] == SETTINGS
    for split in digits.SPLITS:
        found = Counter(p.parent.name for p in (prepared / split).rglob("*.png"))
        assert manifest["counts"][split] == found
        assert sum(found.values()) == SETTINGS[split]


def test_unaugmented_digit_is_the_source_enlarged():
    source = digits.load_sources()[0][0]
    image = digits.augment(source, 8, np.full(4, 0.5))  # no turn, no shift, scale 1
    assert np.corrcoef(np.asarray(image).ravel(), source.ravel())[0, 1] > 0.97


def test_augmentation_moves_to_the_right_and_down():
    source = np.zeros((8, 8), np.uint8)
    source[3:5, 3:5] = 255
    image = np.asarray(digits.augment(source, 16, np.array([0.5, 0.5, 1.0, 0.5])), float)
    column = (image.sum(0) * np.arange(16)).sum() / image.sum()
    row = (image.sum(1) * np.arange(16)).sum() / image.sum()
    assert (column, row) == pytest.approx((8.5, 7.5), abs=0.1)


def test_preparing_again_replaces(root):
    (root / "train" / "0" / "stale.png").write_bytes(b"")
    (root / ".mark-of-an-engine").touch()
    digits.prepare(root, **{**SETTINGS, "train": 20})
    assert len(list((root / "train").rglob("*"))) == 10 + 20
    assert [p.name for p in root.parent.iterdir()] == ["digits"]


def test_foreign_files_are_not_replaced(root):
    (root / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds 'thesis.tex'.*another --output"):
        digits.prepare(root, **SETTINGS)
    assert (root / "thesis.tex").exists()


def test_interrupted_preparation_leaves_what_was_there(root, monkeypatch):
    before = contents(root)

    def full_disk(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(digits, "folder_digest", full_disk)
    with pytest.raises(OSError, match="No space left"):
        digits.prepare(root, **SETTINGS)
    assert contents(root) == before
    assert [p.name for p in root.parent.iterdir()] == ["digits"]


@pytest.mark.parametrize(
    "option, message",
    [
        (["--size", "4"], "size is 4, .* set --size to 16"),
        (["--train", "9"], "train is 9, .* set --train to 10 or more"),
        (["--seed", "-1"], "seed is -1; set --seed"),
    ],
)
def test_mistaken_options(option, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        digits.main(["--output", str(tmp_path / "new"), *option])
    assert not (tmp_path / "new").exists()


# folder


def test_load_folder(prepared):
    images, labels, names = load_folder(prepared, "val", channels=1, size=16, classes=10)
    assert (images.dtype, images.shape) == (torch.uint8, (100, 1, 16, 16))
    assert (labels.dtype, labels.shape) == (torch.int64, (100,))
    assert names == sorted(names)
    assert [name.split("/")[0] for name in names] == [str(c) for c in labels.tolist()]
    i = 37
    assert np.array_equal(images[i, 0], np.asarray(Image.open(prepared / "val" / names[i])))


def test_gray_images_can_be_read_as_colour(prepared):
    gray = load_folder(prepared, "val", channels=1, size=16)[0]
    colour = load_folder(prepared, "val", channels=3, size=16)[0]
    assert torch.equal(colour, gray.expand(-1, 3, -1, -1))


def damage(root, kind):
    folder = root / "val" / "3"
    image = min(folder.iterdir())
    if kind == "missing":
        shutil.rmtree(root / "val")
    elif kind == "flat":
        for path in list((root / "val").iterdir()):
            shutil.rmtree(path)
        (root / "val" / "0001-00.png").touch()
    elif kind == "empty class":
        shutil.rmtree(folder)
        folder.mkdir()
    elif kind == "no image":
        image.write_text("not an image")
    elif kind == "cut image":
        image.write_bytes(image.read_bytes()[:100])
    elif kind == "size":
        Image.new("L", (20, 18)).save(image)
    elif kind == "class count":
        shutil.rmtree(folder)
    return image.name


@pytest.mark.parametrize(
    "kind, message",
    [
        ("missing", "val does not exist; put the class folders there, or correct"),
        ("flat", "val has no class folders; put its images into one folder for each class"),
        ("empty class", "3 holds no images; remove it or fill it"),
        ("no image", "NAME cannot be read as an image .*; replace or remove it"),
        ("cut image", "NAME cannot be read as an image .*; replace or remove it"),
        ("size", "16 x 16 pixels as they are, but .*NAME has 20 x 18; set settings.data.hold: str"),
        (
            "class count",
            r"val has 9 class folders \(0, 1, 2, 4, .*\), but settings.data.classes is 10: "
            "set it to 9, or add 1",
        ),
    ],
)
def test_load_folder_names_the_mistake(root, kind, message):
    name = damage(root, kind)
    with pytest.raises(ValueError, match=message.replace("NAME", name)):
        load_folder(root, "val", channels=1, size=16, classes=10)


def test_manifest_digest_notices_a_changed_image(root):
    image = next((root / "train" / "0").iterdir())
    image.write_bytes(image.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="not those that its manifest.json describes; prepare"):
        manifest_digest(root)


def test_manifest_digest_without_a_manifest(root):
    (root / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json is no JSON .*; prepare the data again"):
        manifest_digest(root)
    (root / "manifest.json").unlink()
    with pytest.raises(ValueError, match="manifest.json is missing; prepare"):
        manifest_digest(root)


def test_kept_images_are_those_of_the_files(root):
    first, labels, names = load_folder(root, "train", 1, 16)
    kept = next(root.glob(".decoded-train*"))
    again = load_folder(root, "train", 1, 16)
    assert (again[0] == first).all() and (again[1] == labels).all() and again[2] == names
    changed = root / "train" / names[0]
    changed.write_bytes((root / "train" / names[1]).read_bytes())
    assert (load_folder(root, "train", 1, 16)[0][0] == first[1]).all()
    kept.write_bytes(b"torn")
    assert (load_folder(root, "train", 1, 16)[0][0] == first[1]).all()
    changed.unlink()
    assert len(load_folder(root, "train", 1, 16)[0]) == len(first) - 1


def test_what_a_killed_process_left_is_removed(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    gone = [tmp_path / f".set.{part}-{ended.pid}" for part in ("partial", "old")]
    mine, other = tmp_path / f".set.partial-{os.getppid()}", tmp_path / f".another.old-{ended.pid}"
    for folder in (*gone, mine, other):
        folder.mkdir()
    digits.prepare(tmp_path / "set", 8, 10, 10, 0)
    assert {path.name for path in tmp_path.iterdir()} == {"set", mine.name, other.name}
