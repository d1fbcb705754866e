"""Values of frozen networks that are looked up (data.lookup): the same bits, made once."""

import json
import os
import shutil
from types import SimpleNamespace

import captioned
import commands
import numpy as np
import pytest
import tiny
import torch
from torch import multiprocessing

from gear import config
from gear.ar import train as ar
from gear.data import digits
from gear.data.lookup import looked_up
from gear.data.sets import training_set
from gear.joint import train as joint
from gear.runtime import distributed
from gear.study import jobs
from gear.study.configfiles import CONFIG
from gear.study.registry import Study

IMAGES, BATCH = 44, 8  # the last batch of a file has four new images
RUNS = {"joint": (joint, "gear-l"), "ar": (ar, "llamagen-repa-l")}


@pytest.fixture
def home(tmp_path, smoke_settings):
    """Digits, a tokenizer and a teacher: settings(run, **changes), and their folders."""
    data = tmp_path / "data"
    digits.prepare(data, 16, IMAGES, 10, 0)

    def settings(run="llamagen-repa-l", **changes):
        return smoke_settings(run, **{"data.path": str(data), "data.lookup": True} | changes)

    made = commands.made(tmp_path, settings(), tiny)
    teacher = captioned.teacher(tmp_path / "teacher", settings())
    return SimpleNamespace(path=tmp_path, settings=settings, tokenizer=made, teacher=teacher)


class Counted:
    """The pixels of a micro-batch as its values; it knows how many images it has read."""

    def __init__(self, settings):
        self.settings, self.device, self.seen = settings, torch.device("cpu"), 0

    def __call__(self, part):
        self.seen += len(part.images)
        return part.images.flatten(1)[:, :100]


def use(home, name="pixels", **changes):
    """(function that looks up, Counted, data) of a job that begins."""
    settings = home.settings(**changes)
    counted, data = Counted(settings), training_set(settings, None)
    return looked_up(name, home.teacher, counted, counted, data), counted, data


def kept(home):
    return sorted(home.teacher.glob(".*.npy"))


def right(found, counted, data):
    """Whether all images' values are found, and none is made."""
    part = data.batch(0)._replace(indices=np.arange(IMAGES)[::-1].copy())
    before, rows = counted.seen, found(part)
    whole = part._replace(images=data.images, labels=data.labels).parts(0, counted.device)[0]
    return counted.seen == before and torch.equal(rows, counted(whole).flip(0))


def test_the_first_job_makes_the_values_and_the_next_one_looks_them_up(home):
    found, counted, data = use(home)
    assert counted.seen == 6 * BATCH and len(kept(home)) == 1
    assert right(found, counted, data)
    found, counted, data = use(home)
    assert counted.seen == BATCH
    assert right(found, counted, data)


def test_without_the_setting_nothing_is_kept(home):
    found, counted, _ = use(home, **{"data.lookup": False})
    assert found is counted and not kept(home)


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def emptied(file):
    file.write_bytes(b"")


def of_other_values(file):
    np.save(file, np.load(file) + 1)


def of_another_shape(file):
    np.save(file, np.load(file)[:-1])


def of_another_type(file):
    np.save(file, np.load(file).astype(np.float64))


@pytest.mark.parametrize("harm", [cut, emptied, of_other_values, of_another_shape, of_another_type])
def test_a_damaged_or_foreign_file_is_made_again(home, harm):
    use(home)
    harm(kept(home)[0])
    found, counted, data = use(home)
    assert counted.seen == 6 * BATCH
    assert right(found, counted, data)


@pytest.mark.parametrize(
    "changes",
    [{"runtime.precision": "bf16"}, {"runtime.micro_batch": 4}, {"runtime.kernels": "fused"}],
)
def test_what_decides_the_values_has_a_file_of_its_own(home, changes):
    use(home)
    found, counted, data = use(home, **changes)
    assert len(kept(home)) == 2 and right(found, counted, data)
    digits.prepare(home.path / "data", 16, IMAGES, 10, 1)
    found, counted, data = use(home, **changes)
    assert len(kept(home)) == 3 and right(found, counted, data)


def test_files_of_earlier_weights_are_removed(home):
    use(home)
    use(home, "others")
    before = kept(home)
    with open(home.teacher / "weights.safetensors", "ab") as handle:
        handle.write(b" ")
    use(home)
    assert len(kept(home)) == 2 and set(kept(home)) & set(before) == {before[0]}


def test_a_file_that_cannot_be_written_costs_only_the_time(home, capsys):
    use(home)
    (file,) = kept(home)
    file.unlink()
    file.mkdir()  # a folder cannot be replaced by a file; root may write everywhere else
    found, counted, _ = use(home)
    assert found is counted
    assert f"{file} cannot be kept, so each step computes its values" in capsys.readouterr().err


def test_set_for_two_stages_it_leaves_the_teacher_and_the_tokenizer_as_they_are(tmp_path):
    """A study may set it where it has an effect; the other jobs are not new."""
    shutil.copytree(CONFIG, tmp_path / "config")
    text = (CONFIG / "studies/smoke.yaml").read_text()
    lines = "".join(f"  {stage}: {{data: {{lookup: true}}}}\n" for stage in RUNS)
    text = text.replace("stages:\n", f"stages:\n{lines}")
    (tmp_path / "config/studies/smoke.yaml").write_text(text)
    with_it, without = Study("smoke", "results", tmp_path / "config"), Study("smoke")
    looks = {name for name, run in with_it.runs.items() if run.settings.data.lookup}
    assert looks == {name for name, run in without.runs.items() if run.stage in RUNS}
    assert jobs.teacher(with_it, "dinov2") == jobs.teacher(without, "dinov2")
    assert jobs.training(with_it, "vq", "400k") == jobs.training(without, "vq", "400k")
    assert jobs.training(with_it, "gear-l", "400k") != jobs.training(without, "gear-l", "400k")


# ---- trainings -----------------------------------------------------------------------------------


def trained(home, monkeypatch, stage, name, stops, **changes):
    """The bytes of a run by the stage's command, in this process, at the last of `stops`."""
    module, run = RUNS[stage]
    settings = home.settings(run, **changes)
    for start, stop in zip((0, *stops), stops, strict=False):
        words = {"name": name, "output": home.path / name / f"{stop}k"}
        words |= {"data": home.path / "data/manifest.json", "teacher": home.teacher}
        words |= {"tokenizer": home.path / "tokenizer"} if stage == "ar" else {}
        line = {"settings": jobs.difference(settings), "start": start, "stop": stop}
        options = [word for k, value in words.items() for word in (f"--{k}", str(value))]
        monkeypatch.setattr("sys.argv", ["train", "--job", json.dumps(line), *options])
        module.main()
    return [(words["output"] / f).read_bytes() for f in ("weights.safetensors", "curves.csv")]


@pytest.mark.parametrize("stage", RUNS)
@pytest.mark.parametrize("precision, size", [("fp32", 0), ("fp32", 4), ("bf16", 0)])
def test_a_training_is_the_same_to_the_bit(home, monkeypatch, stage, precision, size):
    """Eight steps: more than an epoch; the second run is of two segments."""
    changes = {"runtime.precision": precision, "runtime.micro_batch": size}
    plain = trained(home, monkeypatch, stage, "plain", [8], **changes, **{"data.lookup": False})
    assert trained(home, monkeypatch, stage, "kept", [5, 8], **changes) == plain
    features = list(home.teacher.glob(".features-*.npy"))
    tokens = list((home.path / "tokenizer").glob(".tokens-*.npy"))
    assert [len(features), len(tokens)] == [1, int(stage == "ar")]


def test_a_step_runs_no_frozen_network(home):
    settings = home.settings()
    trainer, data = tiny.trainer("ar", settings), training_set(settings, None)
    trainer.look_up(data, home.path / "tokenizer", home.teacher)
    trainer.teacher = trainer.tokenizer = None
    assert trainer.step(data.batch(0), 0)["ntp"] > 0


def process(rank, folder, path):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    changes = {"data.path": f"{path}/data", "data.lookup": True}
    settings = config.build(config.difference(Study("smoke").runs["gear-l"].settings) | changes)
    counted, data = Counted(settings), training_set(settings, None)
    found = looked_up("pixels", f"{path}/teacher", counted, counted, data)
    seen, batch = counted.seen, data.batch(0)
    good = torch.equal(found(batch), counted(batch.parts(0, counted.device)[0]))
    torch.save((seen, len(batch.images), good), f"{folder}/{rank}.pt")
    distributed.stop()


def test_of_two_processes_one_makes_the_file(home, tmp_path):
    folder = tmp_path / "processes"
    os.mkdir(folder)
    arguments = str(folder), str(home.path)
    multiprocessing.start_processes(process, arguments, 2, start_method="forkserver")
    found = [torch.load(folder / f"{rank}.pt") for rank in range(2)]
    assert found == [(IMAGES, 4, True), (4, 4, True)]
