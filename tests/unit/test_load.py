"""Networks are loaded from their files; damaged settings never ask for more memory than these hold.

The numbers that a loader expects at least are compared with those that the network really has."""

import dataclasses
import json
import time

import pytest
import torch
from safetensors.torch import save_file

from gear.alignment.teachers.load import load_teacher
from gear.alignment.teachers.objectives import OBJECTIVES
from gear.ar.load import load_ar
from gear.features import standin
from gear.files.mistakes import Mistake
from gear.runtime import checkpoint
from gear.tokenizer.load import load_tokenizer

LARGE = {
    "codes": ("ar", {"tokenizer.codebook_size": 2**24}),
    "width": ("ar", {"ar.dim": 65536}),
    "layers": ("ar", {"ar.layers": 1000, "ar.dim": 32}),
    "classes": ("ar", {"data.classes": 1_000_000}),
    "positions": ("ar", {"data.resolution": 16384}),
    "codebook": ("tokenizer", {"tokenizer.codebook_size": 2**24}),
    "code": ("tokenizer", {"tokenizer.code_dim": 65536}),
    "channels": ("tokenizer", {"tokenizer.channels": 65536}),
    "levels": ("tokenizer", {"tokenizer.multipliers": [1] * 3000}),
    "encoder": ("tokenizer", {"tokenizer.encoder_blocks": 1000}),
    "decoder": ("tokenizer", {"tokenizer.decoder_blocks": 1000}),
    "to the code": ("tokenizer", {"tokenizer.z_channels": 65536}),
}
TEACHER = {"channels": 1, "resolution": 16, "classes": 10, "patch": 4, "dim": 16, "layers": 1}
CLASSIFIER = {"channels": 1, "resolution": 16, "classes": 10}
LOADERS = {"ar": load_ar, "tokenizer": load_tokenizer}


def folder_of(path, prefix, record):
    """A folder with run.json and a file of weights that has one number."""
    path.mkdir(exist_ok=True)
    save_file({f"{prefix}.x": torch.ones(1)}, path / "weights.safetensors")
    (path / "run.json").write_text(json.dumps(record))
    return path


def settings_in(path, prefix, settings):
    return folder_of(path, prefix, {"settings": dataclasses.asdict(settings)})


def teacher_in(path, objective="masked_patch", **shape):
    record = {"spec": {"objective": objective}, "shape": TEACHER | shape}
    return folder_of(path, "teacher", record)


def refused(load, *args):
    """The sentence of the Mistake that a loader raises before it can have built anything."""
    begin = time.process_time()
    with pytest.raises(Mistake) as error:
        load(*args)
    assert time.process_time() - begin < 1.0
    return str(error.value)


@pytest.mark.parametrize("case", LARGE)
def test_a_network_far_larger_than_its_file_is_not_built(case, tmp_path, smoke_settings):
    part, changes = LARGE[case]
    folder = settings_in(tmp_path, part, smoke_settings(**changes))
    assert "run.json asks for" in refused(LOADERS[part], folder)


@pytest.mark.parametrize("name", [name for name in TEACHER if name != "classes"])
def test_nor_is_a_teacher(name, tmp_path, smoke_settings):
    shape = {name: 65536} | ({"resolution": 65536} if name == "patch" else {})
    said = refused(load_teacher, teacher_in(tmp_path, **shape), smoke_settings().data)
    assert "run.json asks for" in said or "no stand-in has the shape" in said


@pytest.mark.parametrize("name", CLASSIFIER)
def test_nor_is_the_network_of_the_scores(name, tmp_path):
    folder = folder_of(tmp_path, "classifier", {"shape": CLASSIFIER | {name: 65536}})
    assert "run.json asks for" in refused(standin.load_network, folder)


@pytest.fixture
def expected(monkeypatch):
    """expected(load, *args) -> (numbers that a loader expects at least, those of its network)."""
    caught = []
    monkeypatch.setattr(checkpoint, "load_network", lambda *args: caught.extend(args) or args[2]())

    def of(load, *args):
        caught.clear()
        load(*args)
        _, _, make, least = caught
        return least, sum(value.numel() for value in make().state_dict().values())

    return of


@pytest.mark.parametrize("run", ["gear-l", "gear-l-ibq", "gear-l-lfq"])
def test_no_network_has_fewer_numbers_than_expected(run, expected, smoke_settings, tmp_path):
    settings = smoke_settings(run)
    for load in LOADERS.values():
        least, real = expected(load, settings_in(tmp_path, "x", settings))
        assert 0.1 * real < least <= real
    for objective in OBJECTIVES:
        least, real = expected(load_teacher, teacher_in(tmp_path, objective), settings.data)
        assert 0.1 * real < least <= real
    folder = folder_of(tmp_path, "classifier", {"shape": CLASSIFIER | {"resolution": 64}})
    least, real = expected(standin.load_network, folder)
    assert 0.1 * real < least <= real
