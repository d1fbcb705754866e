"""A folder of one's own photographs: each stumble is one sentence that names the cure.

The folder is damaged as users do it; doctor and the first rule must say the same."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from gear.cli import images
from gear.cli import main as cli
from gear.data import manifest, transforms
from gear.files.mistakes import Mistake
from gear.study import fit
from gear.study.registry import Study

COUNT = 30  # images in each of three classes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "photos"
    for name in ("animals", "people", "things"):
        (root / name).mkdir(parents=True)
        for i in range(COUNT):
            Image.new("RGB", (40, 30 + i), (i, 0, 0)).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def photos(made, tmp_path, monkeypatch):
    """A copy in the working folder, where the study `folder` looks for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(manifest, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(2))
    shutil.copytree(made, "photos")
    return tmp_path / "photos"


def said(state="missing"):
    """The sentences of doctor on the images of the study `folder`."""
    return [f.said for f in images.data(Study("folder"), "quick") if f.state == state]


def listed():
    """The first rule's list of the folder."""
    return manifest.prepare("photos", 3, "results/folder/data/manifest.json", share=0.2)


def refused():
    with pytest.raises(Mistake) as error:
        listed()
    return str(error.value)


def as_file(photos):
    shutil.rmtree(photos)
    photos.write_text("no folder")


@pytest.mark.parametrize(
    "damage, fault", [(shutil.rmtree, "does not exist"), (as_file, "is a file and no folder")]
)
def test_a_path_that_is_no_folder_is_said_once(photos, damage, fault):
    damage(photos)
    (sentence,) = said()
    assert sentence.startswith(f"settings.data.path: photos {fault}; put the images there")
    assert "the repository's top folder" in sentence and sentence == refused()


@pytest.mark.parametrize("path", ["~/photos", "~anna/photos"])
def test_a_home_folder_that_only_a_shell_knows_is_refused(edited_config, path):
    folder = edited_config("studies/folder.yaml", "path: photos", f"path: {path}")
    with pytest.raises(Mistake, match="begins with '~', which only a shell reads as the home fold"):
        Study("folder", folder=folder)


def test_other_classes_are_named_with_both_cures(photos):
    shutil.copytree(photos / "things", photos / "zebra")
    sentence = (
        "photos has 4 class folders (animals, people, things, zebra), but settings.data.classes "
        "is 3: set it to 4, or remove one."
    )
    assert said() == [sentence] and refused() == sentence
    shutil.rmtree(photos / "zebra")
    shutil.rmtree(photos / "people")
    shutil.rmtree(photos / "things")
    assert "1 class folder (animals), but settings.data.classes is 3: set it to 1" in said()[0]


def test_classes_that_val_lacks_are_named(photos):
    for split, names in (("train", ("animals", "people", "things")), ("val", ("animals",))):
        for name in names:
            shutil.copytree(photos / name, photos / split / name)
    (sentence,) = said()
    assert sentence.startswith("photos: val lacks people, things; ") and sentence == refused()


def test_empty_class_folders_are_lines_beside_the_others(photos):
    for name in ("people", "things"):
        shutil.rmtree(photos / name)
        (photos / name).mkdir()
    for path in sorted((photos / "animals").iterdir())[1:]:
        path.unlink()
    assert said() == [
        "class 'animals' has 1 image, too few to be divided into train and val; add images, or "
        "remove the class.",
        "photos/people, photos/things hold no images; remove them or fill them.",
    ]


def test_all_settings_that_need_more_images_are_in_one_sentence(photos):
    for path in photos.rglob("2?.png"):
        path.unlink()
    (sentence,) = said()
    for name in ("teachers.dinov2", "teachers.dinov3", "teachers.vjepa2", "features"):
        assert f"{name}.batch" in sentence
    assert "photos: train holds 48 images, but " in sentence and "need 64; " in sentence
    assert "val holds 12 images, but analysis.batch needs 16; lower them in" in sentence


def test_what_is_no_file_is_named_before_anything_waits_for_it(photos):
    os.mkfifo(photos / "animals/0a.png")
    (photos / "animals/0b.png").symlink_to("nowhere")
    (sentence,) = said()
    assert sentence.startswith("photos/animals: 0a.png, 0b.png are no file (a pipe or a link to n")
    (photos / "animals/0b.png").unlink()
    assert refused() == (
        "photos: animals/0a.png cannot be read as an image (it is a pipe or a device and no file); "
        "replace or remove it, and run again."
    )


def large(path):
    size = transforms.Image.MAX_IMAGE_PIXELS
    Image.new("1", (size // 10**4 * 2 + 2, 10**4)).save(path)


UNREADABLE = {
    "text": (lambda path: path.write_text("notes"), "its content is of no known kind of image"),
    "torn": (lambda path: path.write_bytes(path.read_bytes()[:60]), "image file is truncated"),
    "large": (large, "it has more than 178 million pixels"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unreadable_image_is_named_with_its_cure(photos, kind):
    damage, fault = UNREADABLE[kind]
    damage(photos / "people/0.png")
    cure = "replace or remove it"
    assert refused() == (
        f"photos: people/0.png cannot be read as an image ({fault}); {cure}, and run again."
    )
    with pytest.raises(Mistake) as error:
        transforms.open_image("photos/people/0.png", 3)
    assert str(error.value) == f"photos/people/0.png cannot be read as an image ({fault}); {cure}."


def test_several_unreadable_images_are_counted_together(photos):
    for name in ("people/0.png", "people/7.png", "things/9.png"):
        (photos / name).write_text("notes")
    assert refused().startswith("photos: people/0.png and 2 more cannot be read as an image (its ")


def test_a_folder_that_changed_after_it_was_listed_is_said(photos):
    listed()
    assert said("note") == [] == said()
    shutil.copy(photos / "people/0.png", photos / "people/new.png")
    (sentence,) = said("note")
    assert sentence == (
        "photos has changed since it was listed (class 'people' had 30 images and has 31), and "
        "jobs read the list; this lists it and trains again: snakemake quick --forcerun "
        "prepare_data --workflow-profile workflow/profiles/local --config study=folder "
        "results=results"
    )
    listed()
    assert said("note") == []


def test_a_list_of_fewer_images_is_refused_with_the_way_out(photos):
    listed()
    text = '{"images": {"train": {"a": 9}, "val": {"a": 9}}}'
    with open("results/folder/data/manifest.json", "w") as file:
        file.write(text)
    with pytest.raises(Mistake, match=r"where images were added, remove results/folder/data/mani"):
        fit.images(Study("folder"))


def test_help_names_the_study_of_a_folder(capsys):
    for command in ("run", "plan", "doctor"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert "demo | folder | paper | smoke | your own" in capsys.readouterr().out
