"""The three trainers: resumed equals uninterrupted, segments equal one run, to the byte."""

import os
import signal

import pytest

from gear.runtime import checkpoint
from gear.runtime.device import setup
from gear.runtime.loop import Segment

RUNS = {"tokenizer": "vq", "joint": "gear-l-ste", "ar": "llamagen-repa-l"}


class Stopping:
    """Images that at one step, once, do something to their process."""

    def __init__(self, images, step, act):
        self.images, self.at, self.act = images, step, act
        self.classes = images.classes

    def batch(self, step):
        if step == self.at:
            self.at = None
            self.act()
        return self.images.batch(step)


def sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


def crash():
    raise MemoryError("the machine went away")


@pytest.fixture
def segment(smoke_settings, tiny_networks, random_images, tmp_path):
    """segment(stage, folder, start, stop, ...) -> a Segment with a trainer of its own."""

    def build(stage, folder, start, stop, at=None, act=None, **changes):
        settings = smoke_settings(RUNS[stage], **{"runtime.log_every": 2}, **changes)
        setup(settings)
        data = Stopping(random_images(settings), at, act)
        return Segment(
            tiny_networks.trainer(stage, settings),
            data,
            tmp_path / folder / f"{stop}k",
            start,
            stop,
        )

    return build


def results(segment):
    return [(segment.output / f).read_bytes() for f in ("weights.safetensors", "curves.csv")]


@pytest.fixture
def whole(segment):
    def run(stage):
        found = segment(stage, "whole", 0, 5)
        found.run("whole")
        return results(found)

    return run


@pytest.mark.parametrize("stage", RUNS)
def test_resumed_after_sigterm_equals_uninterrupted(segment, whole, stage):
    stopped = segment(stage, "parts", 0, 5, at=2, act=sigterm)
    with pytest.raises(SystemExit) as exit_:
        stopped.run("stopped")
    # the step is finished, in the middle of a window of the curves
    assert (
        exit_.value.code == 143 and checkpoint.load_state(stopped.folder / "latest.pt")["step"] == 3
    )
    assert not stopped.output.exists()
    again = segment(stage, "parts", 0, 5)
    again.run("again")
    assert results(again) == whole(stage)
    assert not (again.folder / "latest.pt").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("stage", RUNS)
def test_segments_equal_one_run(segment, whole, stage):
    first = segment(stage, "parts", 0, 2)
    first.run("first")
    second = segment(stage, "parts", 2, 5)
    second.run("second")
    assert results(second) == whole(stage)
    assert results(first)[0] != results(second)[0]
    assert len((first.output / "curves.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("minutes, left", [(0.0, 3), (30.0, None)])
def test_after_a_crash_it_goes_on_from_the_last_save(segment, whole, minutes, left, capsys):
    every = {"runtime.checkpoint_minutes": minutes}
    first = segment("tokenizer", "parts", 0, 5, at=3, act=crash, **every)
    with pytest.raises(MemoryError):
        first.run("first")
    assert (first.folder / "latest.pt").exists() == (left is not None)
    again = segment("tokenizer", "parts", 0, 5)  # how often it saves is no other setting
    again.run("again")
    assert ("latest.pt at step 3" in capsys.readouterr().err) == (left == 3)
    assert results(again) == whole("tokenizer")
