"""What must fit together in a study is said while it is read, or when its images are listed."""

import difflib
import json
import re
import shutil

import pytest

from gear.cli import main as cli
from gear.study import fit
from gear.study.configfiles import CONFIG
from gear.study.registry import Study


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """changed(study, {old: new}): the study 'own' of a copy of config/, with changed text."""
    shutil.copytree(CONFIG, tmp_path / "config")

    def make(name, changes):
        text = (CONFIG / "studies" / f"{name}.yaml").read_text()
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        (tmp_path / "config/studies/own.yaml").write_text(text)
        return Study("own", str(tmp_path / "results"), tmp_path / "config")

    return make


MISFITS = {
    "samplers": ({"plain: {images: 64}": "plain: {images: 32}"}, "samplers.plain.images is 32"),
    "neighbours": (
        {"demo, neighbours: 3": "demo, neighbours: 64"},
        "protocols.generation.neighbours is 64",
    ),
    "analysis batch": (
        {"images: 64, batch: 32": "images: 60, batch: 32"},
        "images 60 is no",
    ),
    "patch": ({"patch: 3": "patch: 16"}, "analysis.neighbours.patch is 16, but an image has 16"),
    "protocol": ({"{name: demo, images": "{name: reconstruction, images"}, "validation.name is"),
    "channels": ({"channels: 1,": "channels: 2,"}, "'data.channels' cannot be 2. Known: 1, 3."),
    "sized": (
        {"projector_dim: 32": "layer: 99"},
        "align.layer has no effect here, because each of",
    ),
    "lookup": (
        {"classes: 10, flip: false": "classes: 10, flip: true, lookup: true"},
        "data.lookup is true, which needs data.hold: memory and data.flip: false, not memory and "
        "true; change these",
    ),
    "lookup of shards": (
        {"classes: 10, flip: false": "classes: 10, flip: false, lookup: true"},
        "runs.yaml, llamagen-repa-t2i: data.lookup is true, which needs data.hold: memory and "
        "data.flip: false, not stream and false; change these, or set data.lookup: false.",
    ),
    "lpips": ({"lpips: 0.0": "lpips: 0.1"}, "settings.data.channels is 1, but LPIPS reads colour"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_study_that_contradicts_itself_is_refused(changed, name):
    changes, said = MISFITS[name]
    with pytest.raises(ValueError, match=re.escape(said)):
        changed("smoke", changes)


def test_made_images_are_compared_with_the_study(changed):
    fit.images(changed("smoke", {}))
    for changes, said in (
        ({"val: 64": "val: 63"}, "val holds 63 images, but protocols.validation.images is 64; set"),
        (
            {"train: 128": "train: 7"},
            "train holds 7 images, but settings.optim.batch, teachers.dinov2.batch and "
            "features.batch need 8; lower them in the study's file, or add images.",
        ),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            fit.images(changed("smoke", changes))


def test_a_list_that_prepare_data_wrote_is_compared_with_the_study(changed, tmp_path):
    study = changed("folder", {"analysis: {batch: 16": "analysis: {images: 48, batch: 16"})
    manifest = tmp_path / "results/own/data/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"images": {"train": {"a": 144}, "val": {"a": 36}}}))
    with pytest.raises(ValueError, match="val holds 36 images, but analysis.images needs 48"):
        fit.images(study)


def test_the_study_of_a_folder_is_the_demo_but_for_a_few_lines():
    texts = [
        (CONFIG / "studies" / f"{n}.yaml").read_text().splitlines() for n in ("demo", "folder")
    ]
    differing = [line for line in difflib.ndiff(*texts) if line.startswith("+ ")]
    assert len(differing) <= 15


def test_a_folder_prints_no_value_of_the_paper():
    study = Study("folder")
    specs = json.dumps([*study.table_specs.values(), *study.figure_specs.values()])
    assert '"quoted"' not in specs.replace('"source": "quoted"', "")
    rows = [row for spec in study.table_specs.values() for row in spec["rows"]]
    assert rows and not any(row["paper"] or row["source"] == "quoted" for row in rows)
    assert {spec["paper_table"] for spec in study.table_specs.values()} == {None}
    demo = Study("demo").table_specs["system"]["rows"]
    assert any(row["paper"] for row in demo) and any(row["source"] == "quoted" for row in demo)


def test_doctor_says_that_images_are_too_few(tmp_path, monkeypatch, capsys, image_folder):
    monkeypatch.chdir(tmp_path)
    image_folder(tmp_path / "photos", 40, 3)
    (tmp_path / "workflow/profiles/slurm").mkdir(parents=True)
    (tmp_path / "workflow/profiles/slurm/config.yaml").write_text("{}")
    assert cli.main(["doctor", "--study", "folder"]) == 1
    text = capsys.readouterr().out
    assert "photos: val holds 9 images, but analysis.batch needs 16; lower analysis.batch" in text
    shutil.rmtree(tmp_path / "photos/val")
    assert cli.main(["doctor", "--study", "folder"]) == 0
    assert "photos: 24 validation images, enough for the study" in capsys.readouterr().out
