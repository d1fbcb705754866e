"""The loop under all trainers, with a trainer that says what it is told.

Each way to stop, resume or go wrong is scripted; the files and sentences are compared with what the
script implies.
"""

import csv
import dataclasses
import json
import math
import time
from hashlib import sha256

import pytest
import torch
from torch import nn

from gear.config import FREE
from gear.runtime import checkpoint
from gear.runtime.job import deadline
from gear.runtime.loop import Segment, curves
from gear.runtime.state import identity
from gear.runtime.trainer import Trainer


class Scripted(Trainer):
    def __init__(self, settings, **metrics):
        super().__init__(settings)
        self.modules["net"], self.metrics, self.seen = nn.Linear(1, 1), metrics, []

    def step(self, batch, number):
        self.seen.append(number)
        return {k: torch.tensor(float(v[number])) for k, v in self.metrics.items()}


@pytest.fixture
def scripted(smoke_settings, random_images, tmp_path):
    def build(start, stop, folder="run", inputs=(), log_every=1, changes=None, **metrics):
        settings = smoke_settings("vq", **{"runtime.log_every": log_every}, **(changes or {}))
        output = tmp_path / folder / f"{stop}k"
        trainer = Scripted(settings, **metrics)
        return Segment(trainer, random_images(settings), output, start, stop, inputs)

    return build


def record(segment):
    return json.loads((segment.output / "run.json").read_text())


def test_a_milestone_says_what_it_is(scripted, tmp_path):
    (tmp_path / "input").write_text("abc")
    segment = scripted(0, 3, inputs=[tmp_path / "input"], log_every=2, total=[1, 2, 4])
    segment.run("x")
    found = record(segment)
    assert (found["steps"], found["status"], found["collapsed_at"]) == (3, "finished", None)
    assert found["settings"] == json.loads(json.dumps(dataclasses.asdict(segment.settings)))
    assert found["parameters"] == {"net": 2}
    assert found["inputs"][str(tmp_path / "input")].startswith("ba7816bf8f01cfea")  # of "abc"
    rows = list(csv.DictReader((segment.output / "curves.csv").open()))
    # the first step has a line of its own, and counts in its window too
    assert [tuple(row.values()) for row in rows] == [("1", "1"), ("2", "1.5"), ("3", "4")]
    lines = (segment.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "total": 1.0},
        {"step": 2, "total": 1.5},
        {"step": 3, "total": 4.0},
    ]
    assert sorted(p.name for p in segment.folder.iterdir()) == [
        "3k",
        "lock",
        "metrics.jsonl",
        "state",
    ]


def test_curves_leave_blank_what_was_not_measured():
    text = curves([{"step": 1, "a": 1 / 3}, {"step": 2, "a": 1e-7, "b": 2.0}])
    assert text == "step,a,b\n1,0.333333,\n2,1e-07,2\n"


def test_a_loss_that_is_not_finite_stops_and_names_the_window(scripted):
    segment = scripted(0, 9, log_every=2, total=[1, 1, 1, math.nan, 1], l1=[1] * 9)
    with pytest.raises(ValueError) as error:
        segment.run("x")
    assert str(error.value) == (
        "total became non-finite in steps 3 to 4; the last good state is the one before its first "
        "step. Lower optim.lr_* or raise optim.warmup of this run, or set runtime.on_nonfinite: "
        "record to keep the row."
    )
    assert not segment.output.exists() and not (segment.folder / "latest.pt").exists()


def test_a_recorded_divergence_is_passed_on(scripted, capsys):
    keep = {"runtime.on_nonfinite": "record"}
    first = scripted(0, 4, changes=keep, total=[1, math.inf, 1, 1])
    first.run("x")
    assert "diverged in steps 2 to 2: total not finite" in capsys.readouterr().err
    second = scripted(4, 6, changes=keep, total=[1] * 6)
    second.run("x")
    for segment, seen in ((first, [0, 1]), (second, [])):
        assert record(segment)["status"] == "diverged" and segment.trainer.seen == seen
        rows = list(csv.DictReader((segment.output / "curves.csv").open()))
        assert [(r["step"], r["total"]) for r in rows] == [("1", "1"), ("2", "inf")]
        lines = (segment.folder / "metrics.jsonl").read_text().splitlines()
        assert lines[1] == '{"step": 2, "total": null}'  # JSON has no infinity


@pytest.mark.parametrize("value", [math.nan, -math.inf, 1e30])
def test_a_last_update_that_breaks_the_weights_is_not_finished(scripted, value):
    """The losses are those before the update."""

    def broken(**options):
        segment = scripted(0, 2, total=[1, 1], changes={"runtime.checkpoint_minutes": 0}, **options)
        step = segment.trainer.step

        def breaks(batch, number):
            if number == 1:
                torch.nn.init.constant_(segment.trainer.modules["net"].bias, value)
            return step(batch, number)

        segment.trainer.step = breaks
        return segment

    segment = broken()
    with pytest.raises(ValueError) as error:
        segment.run("x")
    assert str(error.value).startswith(
        "net.bias became non-finite in the update of step 2; the last good state is "
        f"{segment.folder}/latest.pt. Lower optim.lr_*"
    )
    assert not segment.output.exists()
    assert torch.load(segment.folder / "latest.pt", weights_only=True)["step"] == 1


def test_an_average_that_is_not_finite_is_recorded(scripted, capsys):
    segment = scripted(0, 2, total=[1, 1], changes={"runtime.on_nonfinite": "record"})
    average = segment.trainer.averages["net"] = type("Average", (), {"module": nn.Linear(1, 1)})()
    nn.init.constant_(average.module.weight, math.nan)
    segment.run("x")
    assert record(segment)["status"] == "diverged"
    assert "diverged in the update of step 2: net.weight not finite" in capsys.readouterr().err


def test_a_milestone_states_the_sha256_of_its_weights(scripted):
    segment = scripted(0, 1, total=[1])
    segment.run("x")
    weights = segment.output / "weights.safetensors"
    assert record(segment)["weights_sha256"] == sha256(weights.read_bytes()).hexdigest()


def test_a_missing_state_says_what_to_do(scripted):
    segment = scripted(2, 4, total=[1] * 4)
    with pytest.raises(ValueError) as error:
        segment.run("x")
    assert str(error.value) == (
        f"the training state {segment.folder}/state/2.pt is missing, so the run cannot go on from "
        f"there; pull it, or delete the step folders of {segment.folder} to train it from the "
        "start."
    )


def refusal(segment):
    with pytest.raises(ValueError) as error:
        segment.run("x")
    assert segment.trainer.seen == [] and not segment.output.exists()
    return str(error.value)


def test_the_state_of_other_settings_is_refused(scripted):
    scripted(0, 2, total=[1] * 4).run("x")
    other = scripted(2, 4, changes={"optim.lr_ar": 0.5}, total=[1] * 4)
    assert refusal(other) == (
        f"{other.folder}/state/2.pt was trained with optim.lr_ar 0.002, this run has 0.5; set it "
        f"back, or delete the step folders of {other.folder} to train the run again."
    )


def stopped(segment, step=3):
    """What a segment leaves that was stopped at a step."""
    segment.step = step
    segment.states.save_latest(segment.state())
    return segment


def test_a_latest_state_of_other_settings_is_refused(scripted):
    folder = stopped(scripted(0, 4)).folder
    other = scripted(0, 4, changes={"seed": 99}, total=[1] * 4)
    assert refusal(other) == (
        f"{folder}/latest.pt was trained with seed 11, this run has 99; set it back, or delete "
        f"{folder}/latest.pt and {folder}/previous.pt to train it again."
    )


def test_a_latest_state_of_another_tokenizer_is_refused(scripted, tmp_path):
    weights = tmp_path / "weights"
    weights.write_text("old")
    stopped(scripted(0, 4, inputs=[weights]))
    weights.write_text("new")
    assert "latest.pt was trained on other inputs: the data, the tokenizer, the teacher or" in (
        refusal(scripted(0, 4, inputs=[weights], total=[1] * 4))
    )


def damage(path):
    """One bit of a weight: what torch.load does not notice."""
    data = bytearray(path.read_bytes())
    place = data.find(torch.full((1, 1), 0.123).numpy().tobytes())
    assert place > 0
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [damage, lambda path: path.write_bytes(path.read_bytes()[:200])])
def test_a_damaged_latest_state_gives_way_to_the_one_before(scripted, harm, capsys):
    segment = scripted(0, 4)
    torch.nn.init.constant_(segment.trainer.modules["net"].weight, 0.123)
    stopped(segment, 1)
    stopped(segment, 2)
    harm(segment.states.latest)
    again = scripted(0, 4, total=[1] * 4)
    again.run("x")
    said = capsys.readouterr().err
    assert again.trainer.seen == [1, 2, 3]
    assert "warning: " in said and "latest.pt cannot be read" in said
    assert f"goes on from {segment.states.previous} at step 1" in said
    assert not segment.states.latest.exists() and not segment.states.previous.exists()


def test_a_damaged_milestone_is_named(scripted):
    segment = scripted(0, 2, total=[1] * 4)
    torch.nn.init.constant_(segment.trainer.modules["net"].weight, 0.123)
    segment.run("x")
    damage(segment.states.milestone(2))
    assert "state/2.pt cannot be read (wrong checksum of" in refusal(scripted(2, 4))


def test_before_the_end_of_the_jobs_time_it_saves_and_stops(scripted, monkeypatch):
    now = time.time()
    for left, grace in ((40_000, 300), (600, 60)):
        monkeypatch.setenv("SLURM_JOB_END_TIME", str(now + left))
        assert deadline() == pytest.approx(now + left - grace, abs=5)
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(now))
    segment = scripted(0, 4, total=[1] * 4)
    segment.wall -= 100
    with pytest.raises(SystemExit) as exit_:
        segment.run("x")
    assert exit_.value.code == 143 and segment.trainer.seen == [0]
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(time.time() + 3600))
    again = scripted(0, 4, total=[1] * 4)
    again.run("x")
    assert again.trainer.seen == [1, 2, 3]
    assert record(again)["attempts"] == 2 and 100 <= record(again)["wall_s"] < 200


def test_a_latest_state_of_an_earlier_segment_is_not_used(scripted):
    scripted(0, 4, total=[1] * 4).run("x")
    stopped(scripted(2, 4))
    segment = scripted(4, 6, total=[1] * 6)
    segment.run("x")
    assert segment.trainer.seen == [4, 5]


def test_a_latest_state_beyond_the_milestone_is_not_thrown_away(scripted):
    folder = stopped(scripted(2, 4)).folder
    assert f"{folder}/latest.pt is at step 3, beyond the milestone at step 2 that this job" in (
        refusal(scripted(0, 2, total=[1] * 4))
    )
    assert (folder / "latest.pt").exists()


def test_micro_batches_must_divide_the_batch(smoke_settings, tiny_networks, random_images):
    settings = smoke_settings("vq", **{"runtime.micro_batch": 3})
    with pytest.raises(ValueError, match="micro_batch 3 does not divide this process's 8 images"):
        tiny_networks.trainer("tokenizer", settings).step(random_images(settings).batch(0), 0)


def test_a_reader_who_is_gone_stops_no_training(scripted, monkeypatch):
    class Gone:
        def write(self, text):
            raise BrokenPipeError

        flush = close = write

    segment = scripted(0, 2, total=[1] * 2)
    monkeypatch.setattr("sys.stderr", Gone())
    segment.run("x")
    assert segment.trainer.seen == [0, 1]


def test_what_counts_as_other_settings(smoke_settings):
    free = {"log_every": 7, "checkpoint_minutes": 1.0, "threads": 2, "micro_batch": 2}
    free |= {"on_nonfinite": "record", "recompute": True, "compile": True, "channels_last": True}
    free |= {"loggers": ["wandb"], "workers": 3}
    assert {f"runtime.{k}" for k in free} == FREE
    same = smoke_settings(**{f"runtime.{k}": v for k, v in free.items()})
    assert identity(same) == identity(smoke_settings())
    for change in ({"seed": 1}, {"optim.clip": 2.0}, {"runtime.precision": "bf16"}):
        assert identity(smoke_settings(**change)) != identity(smoke_settings())


def test_a_state_from_before_a_setting_existed_goes_on(scripted, tmp_path):
    """It says nothing of the setting, which has its default, and is refused for another value."""
    first = scripted(0, 2, total=[1] * 4)
    assert "runtime.tf32" not in first.identity
    first.run("x")
    said = refusal(scripted(2, 4, changes={"runtime.tf32": True}, total=[1] * 4))
    assert "was trained with runtime.tf32 False, this run has True; set it back" in said
    again = scripted(2, 4, total=[1] * 4)
    again.run("x")
    assert again.trainer.seen == [2, 3]


def test_a_finished_milestone_is_written_anew_from_its_state(scripted):
    """As where a second copy of its job has begun with removing the first one's files."""
    scripted(0, 2, total=[1] * 4).run("x")
    first = scripted(2, 4, total=[1, 1, 2, 3])
    first.run("x")
    files = {p.name: p.read_bytes() for p in first.output.iterdir()}
    for path in first.output.iterdir():
        path.unlink()
    again = scripted(2, 4, total=[9] * 4)
    again.run("x")
    assert again.trainer.seen == []
    for name in ("weights.safetensors", "curves.csv"):
        assert (again.output / name).read_bytes() == files[name]
    other = scripted(0, 2, changes={"seed": 99}, total=[5] * 4)
    other.run("x")  # another run from its start: the old milestones are nothing to it
    assert other.trainer.seen == [0, 1]


def test_a_second_copy_of_the_same_job_is_refused(scripted):
    segment = scripted(0, 2, total=[1, 1])
    with checkpoint.run_lock(segment.folder), pytest.raises(ValueError, match="is being written"):
        segment.run("x")
    assert segment.trainer.seen == [] and not segment.output.exists()
