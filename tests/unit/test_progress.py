"""What a training shows while it runs: lines, a bar, metrics.jsonl, TensorBoard, W&B.

Known metrics are reported, and a short training runs with each logger; the output is compared.
"""

import io
import json
import sys
import types

import pytest

from gear.runtime import loggers, provenance
from gear.runtime.loop import Segment
from gear.runtime.progress import Progress, counter

METRICS = {"ntp": 2.5, "usage": 0.75, "grad_ar": 9.0}


def reported(path, monkeypatch, terminal=False):
    """What stderr got of two reports."""
    screen = io.StringIO()
    screen.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", screen)
    progress = Progress("gear-l@100k", 10, 20, 32, path)
    progress.began -= 8.0  # two seconds a step
    for step in (14, 20):
        progress.report(step, METRICS)
    progress.close()
    return screen.getvalue()


def test_a_line_says_what_one_wants_to_know(tmp_path, monkeypatch):
    said = reported(tmp_path / "metrics.jsonl", monkeypatch)
    assert said.startswith("gear-l@100k  20/20 100%  ntp 2.500  usage 0.750  ")
    for part in ("s/step", "images/s", "GiB", "0 s left"):
        assert part in said
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert rows == [{"step": 14, **METRICS}, {"step": 20, **METRICS}]


def test_a_terminal_gets_a_bar(tmp_path, monkeypatch):
    said = reported(tmp_path / "metrics.jsonl", monkeypatch, terminal=True)
    last = said.rsplit("\r", 1)[-1]
    assert last.startswith("gear-l@100k: 100%") and "20/20" in last and "ntp 2.500" in last


def test_a_full_disk_costs_lines_and_not_the_training(monkeypatch):
    said = reported("/dev/full", monkeypatch)
    assert said.count("warning: /dev/full lacks the lines from here on: ") == 1
    assert "gear-l@100k  20/20" in said


def test_long_work_is_counted_and_short_work_says_nothing(monkeypatch, capsys):
    now = iter((0.0, 4.0, 6.0, 8.0, 12.0))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    report = counter("images drawn", 100)
    for done in (10, 20, 40, 60):
        report(done)
    assert capsys.readouterr().err == (
        "images drawn 20/100  3.33 images/s  24 s left\nimages drawn 60/100  5 images/s  8 s left\n"
    )


@pytest.fixture
def trained(smoke_settings, tiny_networks, random_images, tmp_path):
    def run(stop, start=0, **runtime):
        settings = smoke_settings("vq", **{f"runtime.{k}": v for k, v in runtime.items()})
        output = tmp_path / f"{stop}k"
        segment = Segment(
            tiny_networks.trainer("tokenizer", settings),
            random_images(settings),
            output,
            start,
            stop,
        )
        segment.run("vq")
        return segment

    return run


def test_tensorboard_has_the_history(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(2, loggers=["tensorboard"])
    segment = trained(4, start=2, loggers=["tensorboard"])
    events = EventAccumulator(str(segment.folder / "log/tensorboard")).Reload()
    found = {e.step: e.value for e in events.Scalars("total")}
    assert found == pytest.approx({row["step"]: row["total"] for row in segment.history})
    assert len(found) == 4


def test_wandb_is_one_run_for_all_attempts(trained, monkeypatch):
    calls = []

    class Run:
        def log(self, means, step):
            calls.append((step, means))

        def finish(self):
            calls.append("end")

    def init(**options):
        calls.append(options)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    segment = trained(2, loggers=["wandb"])
    trained(4, start=2, loggers=["wandb"])
    begun = [c for c in calls if isinstance(c, dict)]
    assert len(begun) == 2 and begun[0] == begun[1] | {"id": begun[0]["id"]}
    assert (begun[0]["resume"], begun[0]["name"], len(begun[0]["id"])) == ("allow", "vq", 16)
    assert [c[0] for c in calls if isinstance(c, tuple)] == [1, 2, 3, 4]
    assert calls.count("end") == 2 and calls[1][1].keys() >= {"total", "usage"}
    assert begun[0]["config"]["optim"]["batch"] == segment.settings.optim.batch


def test_a_logger_that_is_not_installed_is_said_at_once(trained, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="names wandb, which is not there .*; pip install wandb"):
        trained(2, loggers=["wandb"])
    assert not (tmp_path / "2k").exists()
    assert list(loggers.load(())) == []


def test_the_record_says_what_it_cost(trained):
    segment = trained(60)  # tenths of a second
    record = json.loads((segment.output / "run.json").read_text())
    assert record["attempts"] == 1 and record["processes"] == 1 and record["gpu_hours"] == 0
    assert record["wall_s"] > 0 and record["cpu_s"] > 0 and record["settings"]["seed"] == 11
    assert record["hosts"] == [record["host"]]
    assert record.keys() >= provenance.environment().keys()
