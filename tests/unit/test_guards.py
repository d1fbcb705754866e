"""What is watched while a run trains, and that nothing bad is saved.

A batch, a window or a disk is spoilt on purpose; the files that are left are compared with those
of before.
"""

import csv
import json
import math
import multiprocessing
import os
import resource
import signal
import sys

import pytest
import torch

from gear.runtime.device import setup
from gear.runtime.guards import Guards
from gear.runtime.loop import Segment

RUNS = {"tokenizer": "vq", "joint": "gear-l", "ar": "llamagen-repa-l"}
OFTEN = {"runtime.checkpoint_minutes": 0.0}  # a state after each step


@pytest.mark.parametrize(
    "name, values, first",
    [("usage", [0.9, 0.19, 0.1, 0.5, 0.1], 2), ("disc", [1.0, 1.4, 0.2, 0.09, 0.01], 4)],
)
def test_a_slow_failure_is_said_once_with_its_step_and_its_cure(name, values, first, capsys):
    guards = Guards()
    for step, value in enumerate(values, 1):
        guards.watch(step, {name: value, "total": 0.0})
    said = capsys.readouterr().err
    assert said.count("warning: ") == 1 and f"{values[first - 1]:.3f} at step {first}" in said
    assert {"usage": "loss.entropy", "disc": "optim.lr_discriminator"}[name] in said
    assert guards.seen == {name: first}
    assert guards.collapsed_at == (first if name == "usage" else None)


def test_a_warning_names_its_run_and_a_run_that_may_fail_has_none(capsys):
    Guards("gear-l@400k").watch(7, {"usage": 0.1})
    assert "warning: gear-l@400k: codebook usage 0.100 at step 7" in capsys.readouterr().err
    quiet = Guards("gear-l-ste@400k", quiet=True)
    quiet.watch(7, {"usage": 0.1})
    assert capsys.readouterr().err == "" and quiet.collapsed_at == 7


class Poisoned:
    """Images of which one is NaN from a step on, where something else may happen too."""

    def __init__(self, images, step, act=lambda: None):
        self.images, self.at, self.act = images, step, act
        self.classes = images.classes

    def batch(self, step):
        batch = self.images.batch(step)
        if step == self.at:
            self.act()
        if step >= self.at:
            batch.images[0] = math.nan
        return batch


@pytest.fixture
def segment(smoke_settings, tiny_networks, random_images, tmp_path):
    def build(stage, stop=6, at=None, act=lambda: None, folder="run", **changes):
        settings = smoke_settings(RUNS[stage], **{"runtime.log_every": 3}, **changes)
        setup(settings)
        data = random_images(settings) if at is None else Poisoned(random_images(settings), at, act)
        output = tmp_path / folder / f"{stop}k"
        return Segment(tiny_networks.trainer(stage, settings), data, output, 0, stop)

    return build


def results(segment):
    return [(segment.output / f).read_bytes() for f in ("weights.safetensors", "curves.csv")]


@pytest.mark.parametrize("stage", RUNS)
def test_a_poisoned_batch_stops_the_run_and_leaves_the_last_good_state(segment, stage):
    bad = segment(stage, at=4, **OFTEN)
    with pytest.raises(ValueError) as error:
        bad.run("x")
    latest = bad.states.latest
    assert f"became non-finite in steps 4 to 5; the last good state is {latest}. Lower" in (
        str(error.value)
    )
    state = torch.load(latest, weights_only=True)
    assert state["step"] == 4 and not bad.output.exists()
    weights = [w for m in state["trainer"]["modules"].values() for w in m.values()]
    assert all(w.isfinite().all() for w in weights)

    mended = segment(stage)  # the image file has been replaced
    mended.run("x")
    whole = segment(stage, folder="whole")
    whole.run("x")
    assert results(mended) == results(whole)


def test_a_poisoned_window_is_not_saved_by_a_signal_either(segment):
    """Not even in a run that records its end: it is stopped before it has done so."""
    keep = {"runtime.on_nonfinite": "record"}
    stopped = segment("ar", at=4, act=lambda: os.kill(os.getpid(), signal.SIGTERM), **keep)
    with pytest.raises(SystemExit):
        stopped.run("x")
    assert not stopped.states.latest.exists()
    again = segment("ar", at=4, **keep)
    again.run("x")
    rows = list(csv.DictReader((again.output / "curves.csv").open()))
    assert [r["step"] for r in rows] == ["1", "3", "6"] and rows[2]["align_ar"] == "nan"
    assert json.loads((again.output / "run.json").read_text())["status"] == "diverged"


def on_a_full_disk(segment, log):
    """In a fork: no file may grow beyond 4 kB, as on a disk that has no more."""
    sys.stderr = open(log, "w", buffering=1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        segment.run("x")
    except ValueError as error:
        print(error, file=sys.stderr)
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("stage", RUNS)
def test_a_full_disk_loses_nothing_that_was_there(segment, stage, tmp_path):
    def end():
        raise KeyboardInterrupt

    first = segment(stage, at=3, act=end, **OFTEN)
    with pytest.raises(KeyboardInterrupt):
        first.run("x")
    before = first.states.latest.read_bytes()
    fork = multiprocessing.get_context("fork")
    log = tmp_path / "log.txt"
    child = fork.Process(target=on_a_full_disk, args=(segment(stage, **OFTEN), log))
    child.start()
    child.join(60)
    said = log.read_text()
    assert child.exitcode == 1, said
    room = f"there is no room for {first.states.latest}; free some and run again, nothing that was"
    assert f"goes on from {first.states.latest} at step 3" in said
    assert [f"warning: at step {n} {room}" in said for n in (4, 5, 6)] == [True] * 3, said
    assert said.splitlines()[-1].startswith(f"there is no room for {first.states.milestone(6)};")
    assert first.states.latest.read_bytes() == before
    assert not list(first.folder.rglob("*.part")) and not first.output.exists()

    mended, whole = segment(stage), segment(stage, folder="whole")
    for run in (mended, whole):
        run.run("x")
    assert results(mended) == results(whole)
