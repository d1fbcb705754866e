"""The manifest of an image folder: what it says, and each mistake in one sentence, soon.

The entries are compared with the files of a folder that the test has made; each fault is planted.
"""

import gzip
import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from gear.config import Data
from gear.data import manifest, survey
from gear.data.listing import Listing
from gear.launch.warm import run

TRAIN, VAL = 7, 3  # images in each of three classes


@pytest.fixture(scope="module")
def made(tmp_path_factory, image_folder):
    return image_folder(tmp_path_factory.mktemp("made") / "images", TRAIN, VAL)


@pytest.fixture
def images(made, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(made, tmp_path / "images")


@pytest.fixture
def prepare(images, monkeypatch):
    """prepare(...) of that copy, without the second that starting processes takes."""
    monkeypatch.setattr(manifest, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(2))

    def run(classes=3, share=None, seed=0, asked=None, **expected):
        output = images.parent / "out/manifest.json"
        return manifest.prepare(images, classes, output, expected, share, seed, asked)

    return run


def refusal(prepare, *args, **kwargs):
    with pytest.raises(ValueError) as error:
        prepare(*args, **kwargs)
    return str(error.value)


# what it says


def test_what_a_manifest_says(images, prepare):
    Image.new("RGB", (300, 400)).save(images / "train/n01/large.png")
    Image.new("RGB", (600, 520)).save(images / "val/n10/larger.png")
    (images / "train/n01/.hidden.png").write_bytes(b"")
    (images / "train/n01/notes.txt").write_text("no image")
    (images / "train/beside.png").write_bytes(b"")
    manifest = prepare(train=22, val=10)
    assert manifest == json.loads((images.parent / "out/manifest.json").read_text())
    text = gzip.decompress((images.parent / "out/files.txt.gz").read_bytes()).decode()
    listing = {"file": "files.txt.gz", "files": 32}
    assert manifest == {
        "path": str(images),
        "images": {
            "train": {"n01": 8, "n02": 7, "n10": 7},
            "val": {"n01": 3, "n02": 3, "n10": 4},
        },
        "smaller_than": {
            "train": {"256": 21, "384": 22, "512": 22},
            "val": {"256": 9, "384": 9, "512": 9},
        },
        "unreadable": [],
        "classes": ["n01", "n02", "n10"],
        "left_out": {
            "train": {".txt": 1, "hidden": 1, "beside the class folders": 1},
            "val": {},
        },
        "listing": listing | {"sha256": hashlib.sha256(text.encode()).hexdigest()},
    }
    suffixes = (".JPEG", ".png")
    for split in ("train", "val"):
        files = [
            p
            for p in (images / split).rglob("*")
            if p.suffix in suffixes and p.name != "beside.png"
        ]
        expected = sorted(str(p.relative_to(images)) for p in files if p.name[0] != ".")
        assert [x for x in text.splitlines() if x.startswith(split)] == expected


def test_processes_give_the_same_bytes_as_threads(images, prepare, monkeypatch):
    found = []
    for _ in ("threads", "processes"):
        prepare()
        out = images.parent / "out"
        found.append({p.name: p.read_bytes() for p in out.iterdir()})
        monkeypatch.undo()
    assert found[0] == found[1] and set(found[0]) == {"manifest.json", "files.txt.gz"}


def test_a_listing_is_read_as_it_was_written(images, prepare):
    odd = "spaß ümlaut.png"
    Image.new("RGB", (20, 20)).save(images / "train/n10" / odd)
    Image.new("RGB", (20, 20)).save(os.fsencode(images / "val/n02") + b"/not-utf8-\xff.png")
    prepare()
    for split, count in (("train", 22), ("val", 10)):
        settings = Data(path=str(images), classes=3)
        found = Listing(images.parent / "out/manifest.json", split, settings)
        names = [found.name(i) for i in range(len(found))]
        assert len(names) == count == len(found.labels) and names == sorted(names)
        classes = ["n01", "n02", "n10"]
        assert [classes[label] for label in found.labels] == [n.split("/")[0] for n in names]
        assert all(os.path.exists(found.path(i)) for i in range(count))
        assert found.labels.dtype == np.int64
    assert any(n.endswith("\udcff.png") for n in names)


# mistakes


def no_classes(images):
    """An image folder without classes: ImageNet's validation images as they come."""
    for path in (images / "val").rglob("*.JPEG"):
        path.rename(images / "val" / path.name)
    for name in ("n01", "n02", "n10"):
        (images / "val" / name).rmdir()


def empty_class(images):
    for path in (images / "train/n02").iterdir():
        path.unlink()


def bad_first(images):
    for path in (images / "val/n10").iterdir():
        path.write_bytes(b"<html>")


MISTAKES = {
    "missing": (
        lambda images: shutil.rmtree(images / "val"),
        r"images has no folder val; put validation images there, or set data\.val_share: 0\.1",
    ),
    "flat": (
        no_classes,
        r"images/val has no class folders, but 9 files side by side; put its images into one "
        r"folder for each class, named as in the other split\.",
    ),
    "nothing": (
        lambda images: [shutil.rmtree(p) for p in (images / "val").iterdir()],
        r"images/val has no class folders; put its images into one folder for each class\.",
    ),
    "class missing": (
        lambda images: shutil.rmtree(images / "train/n02"),
        r"images: train lacks n02; train and val must have the same class folders\.",
    ),
    "other class": (
        lambda images: (images / "val/n10").rename(images / "val/n99"),
        r"images: val lacks n10 and train lacks n99; train and val must have the same",
    ),
    "empty class": (empty_class, r"images/train/n02 holds no images; remove it or fill it\."),
    "no images": (
        bad_first,
        r"images/val/n10/n10_\d.JPEG cannot be read as an image \(its content is of no known kind "
        r"of image\); replace or remove it\.",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named_before_any_file_is_looked_at(images, prepare, monkeypatch, kind):
    damage, message = MISTAKES[kind]
    damage(images)
    monkeypatch.setattr(manifest, "FEW", 0)
    monkeypatch.setattr(survey, "examine", lambda *_: pytest.fail("every file was looked at"))
    with pytest.raises(ValueError, match=message) as error:
        prepare()
    assert "\n" not in str(error.value) and not (images.parent / "out/manifest.json").exists()


def test_a_wrong_number_of_images_is_named_before_any_file_is_looked_at(
    images, prepare, monkeypatch
):
    monkeypatch.setattr(survey, "examine", lambda *_: pytest.fail("every file was looked at"))
    assert refusal(prepare, train=21, val=10) == (
        f"{images}/val holds 9 images, but 10 are expected; complete the folder, or correct "
        "data.val in the study's file."
    )


def cut(path, bytes_left):
    path.write_bytes(path.read_bytes()[:bytes_left])


def test_unreadable_files_are_counted_and_listed(images, prepare):
    (images / "train/n01/n01_1.JPEG").write_bytes(b"")
    cut(images / "train/n10/n10_6.JPEG", -300)  # its header is whole
    Image.effect_noise((64, 64), 50).save(images / "val/n02/z_last.png")
    cut(images / "val/n02/z_last.png", -600)
    out = images.parent / "out"
    said = refusal(prepare)
    start = f"{images}: train/n01/n01_1.JPEG and 2 more cannot be read as an image ("
    end = f"); replace or remove what {out}/unreadable.txt lists, and run again."
    assert said.startswith(start) and said.endswith(end) and "\n" not in said
    lines = (out / "unreadable.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        "train/n01/n01_1.JPEG",
        "train/n10/n10_6.JPEG",
        "val/n02/z_last.png",
    ]
    assert all(line.split("\t")[1] for line in lines) and not (out / "manifest.json").exists()
    for line in lines:
        (images / line.split("\t")[0]).unlink()
    prepare()
    assert not (out / "unreadable.txt").exists()


def test_one_unreadable_file_is_named_alone(images, prepare):
    cut(images / "val/n02/n02_2.JPEG", 100)
    assert "val/n02/n02_2.JPEG cannot be read as an image (" in refusal(prepare)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_whole_file_is_readable_whatever_follows_it(tmp_path, photo, kind):
    path = tmp_path / "x"
    photo(50, 40).save(path, kind)
    assert survey.short_side(path) == 40
    path.write_bytes(path.read_bytes() + b"\0" * 5000)
    assert survey.short_side(path) == 40


def test_a_name_with_a_line_break_is_refused(images, prepare):
    (images / "val/n01/n01_0.JPEG").rename(images / "val/n01/a\nb.jpg")
    assert refusal(prepare) == (
        r"'val/n01/a\nb.jpg' has a line break in its name; rename that file."
    )


def test_the_command_says_what_it_found_or_what_is_wrong(images, prepare, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    words = ["gear.data.manifest", "--path", images, "--classes", "3", "--train", "21"]
    command = [*map(str, words), "--output", str(images.parent / "out/manifest.json")]
    run(command)
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "train: 21 images; with a short side below 256 pixels 21, 384 pixels 21, 512 pixels 21",
        "val: 9 images; with a short side below 256 pixels 9, 384 pixels 9, 512 pixels 9",
        "classes, in the order of their labels: n01, n02, n10",
    ]
    assert "30/30 images 100%  0 unreadable" in said.err
    no_classes(images)
    with pytest.raises(SystemExit, match="^gear.data.manifest: .*images/val has no class folders"):
        run(command)


# reading it


def another(manifest):
    text = manifest.with_name("files.txt.gz")
    text.write_bytes(gzip.compress(gzip.decompress(text.read_bytes()).replace(b"n01_0", b"n01_9")))


def digits_manifest(manifest):
    manifest.write_text(json.dumps({"source": "sklearn", "counts": {}, "sha256": "0"}))


@pytest.mark.parametrize(
    "damage, changes, message",
    [
        (another, {}, "files.txt.gz is not the list that its manifest.json states; remove both"),
        (
            lambda m: cut(m.with_name("files.txt.gz"), 60),
            {},
            "files.txt.gz is not the list that its manifest.json states; remove both",
        ),
        (
            lambda m: m.with_name("files.txt.gz").unlink(),
            {},
            "files.txt.gz is missing; make it again with the rule prepare_data",
        ),
        (lambda m: m.unlink(), {}, "manifest.json is missing; make it with Snakemake or pull it"),
        (digits_manifest, {}, "manifest.json lists no files; it is of another kind .*: remove it"),
        (lambda m: None, {"path": "elsewhere"}, "is of .*images, but data.path is elsewhere; rem"),
        (lambda m: None, {"classes": 4}, "lists 3 classes, but data.classes is 4; correct data.c"),
    ],
)
def test_a_manifest_that_does_not_fit_is_named(images, prepare, damage, changes, message):
    prepare()
    manifest = images.parent / "out/manifest.json"
    damage(manifest)
    with pytest.raises(ValueError, match=message):
        Listing(manifest, "train", Data(**{"path": str(images), "classes": 3, **changes}))


# own images: the share that becomes val, and what the study needs of it


def without_val(images, above=False):
    shutil.rmtree(images / "val")
    if above:  # the class folders lie in the folder itself
        for folder in (images / "train").iterdir():
            folder.rename(images / folder.name)
        (images / "train").rmdir()


@pytest.mark.parametrize("above", [False, True], ids=["train", "class folders"])
def test_a_share_is_split_off_where_there_is_no_val(images, prepare, above):
    without_val(images, above)
    out = images.parent / "out/manifest.json"
    made = prepare(share=0.3, seed=5)
    assert made["images"] == {
        "train": {"n01": 5, "n02": 5, "n10": 5},
        "val": {"n01": 2, "n02": 2, "n10": 2},
    }
    data = Data(path=str(images), classes=3)
    sets = {split: Listing(out, split, data) for split in ("train", "val")}
    names = {split: {s.name(i) for i in range(len(s))} for split, s in sets.items()}
    assert not names["train"] & names["val"] and len(names["train"] | names["val"]) == 21
    assert all(os.path.isfile(s.path(i)) for s in sets.values() for i in range(len(s)))
    assert prepare(share=0.3, seed=5) == made
    again = {i for i in range(6) if prepare(share=0.3, seed=i)["listing"] == made["listing"]}
    assert again == {5}  # another seed splits off others


def test_a_split_depends_on_names_alone():
    names = [f"{i}.png" for i in range(50)]
    val = manifest.divided(names, 0.2, 0, "a")["val"]
    assert len(val) == 10 and val == manifest.divided(names[::-1], 0.2, 0, "a")["val"]
    assert len(manifest.divided(names[:2], 0.01, 0, "a")["val"]) == 1
    with pytest.raises(ValueError, match="class 'a' has 1 image, too few to be divided"):
        manifest.divided(names[:1], 0.2, 0, "a")


def test_images_that_do_not_fit_the_study_are_refused_before_they_are_looked_at(
    images, prepare, monkeypatch
):
    monkeypatch.setattr(survey, "examine", lambda *_: pytest.fail("every file was looked at"))
    need = {"split": "val", "exact": 36, "least": None, "setting": "protocols.validation.images"}
    said = refusal(prepare, asked={"needs": [need]})
    assert "val holds 9 images, but protocols.validation.images is 36; set" in said
    need = {"split": "train", "exact": None, "least": 32, "setting": "settings.optim.batch"}
    said = refusal(prepare, asked={"needs": [need]})
    assert "train holds 21 images, but settings.optim.batch needs 32; lower" in said
    said = refusal(prepare, asked={"size": 16})
    assert "takes images of 16 x 16 pixels as they are" in said and "hold: stream" in said
