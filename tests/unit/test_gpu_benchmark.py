"""benchmarks/gpu.py without a GPU: every part at toy size, and what happens when a part goes wrong.

One test runs all real parts on the CPU (make test-slow). The others replace the parts by small ones
that fail, die or hang: a borrowed GPU must not lose its half hour to them.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import bad_parts
import pytest
import yaml
from bad_parts import dying, good, hanging, judged, raising, reads

from gear.study.configfiles import check_schema

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
HELPERS = Path(bad_parts.__file__).parent


@pytest.fixture(scope="module")
def gpu():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu"] = module
    spec.loader.exec_module(module)
    return module


def run(gpu, monkeypatch, folder, minutes="1", **parts):
    """(exit status, content of gpu.json) of a run with these parts."""
    monkeypatch.setattr(gpu, "PARTS", {name: (rows, 1.0, ()) for name, rows in parts.items()})
    arguments = ["--device", "cpu", "--tiny", "--output", str(folder), "--minutes", minutes]
    status = gpu.main(arguments)
    return status, json.loads((folder / "gpu.json").read_text())


@pytest.mark.parametrize(
    "part, problem",
    [(raising, "a planted fault"), (dying, "exit code -9"), (judged, None)],
)
def test_a_bad_part_does_not_stop_the_others(gpu, monkeypatch, tmp_path, part, problem):
    status, content = run(gpu, monkeypatch, tmp_path, first=good, bad=part, last=reads)
    assert status == 1
    said = {name: part["status"] for name, part in content["parts"].items()}
    assert said == {"first": "passed", "bad": "failed", "last": "passed"}
    bad = content["parts"]["bad"]
    assert len(bad["rows"]) == 1  # what it had before it went wrong
    assert problem is None or problem in bad["problem"]
    assert "Traceback" in bad["problem"] if part is raising else True
    assert "a planted fault" in (tmp_path / "gpu.md").read_text() or part is not raising


def test_all_parts_passed_is_exit_status_0(gpu, monkeypatch, tmp_path, capsys):
    status, content = run(gpu, monkeypatch, tmp_path, first=good, last=reads)
    assert status == 0 and "first passed, last passed" in capsys.readouterr().out
    assert content["tiny"] and content["torch"] and content["commit"]


def test_a_hanging_part_is_stopped_when_its_time_is_over(gpu, monkeypatch, tmp_path):
    status, content = run(gpu, monkeypatch, tmp_path, "0.1", slow=hanging, last=good)
    parts = content["parts"]
    assert status == 1 and parts["slow"]["status"] == "cut off" and parts["slow"]["rows"]
    assert parts["last"]["status"] == "passed"


def test_a_killed_run_leaves_a_whole_file(tmp_path):
    """Killed in the middle of its second part: the first part is there, and the second's rows."""
    code = f"""
import sys
sys.path[:0] = [{str(SCRIPT.parent.parent)!r}, {str(HELPERS)!r}]
from benchmarks import gpu
from bad_parts import good, hanging
gpu.PARTS = {{"first": (good, 1.0, ()), "slow": (hanging, 1.0, ())}}
gpu.main(["--device", "cpu", "--tiny", "--output", {str(tmp_path)!r}])
"""
    options = {"stdout": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen([sys.executable, "-c", code], **options)
    file = tmp_path / "gpu.json"
    end = time.monotonic() + 180  # torch loads slowly on a busy machine
    while time.monotonic() < end and not (file.exists() and "before" in file.read_text()):
        time.sleep(0.05)
    process.kill()
    process.wait()
    with suppress(ProcessLookupError):  # the part, which would hang for ten minutes
        os.killpg(process.pid, signal.SIGKILL)
    parts = json.loads(file.read_text())["parts"]
    assert parts["first"]["status"] == "passed" and parts["slow"]["status"] == "running"
    assert [row["name"] for row in parts["slow"]["rows"]] == ["before"]


@pytest.mark.slow  # a minute or more; the parts before `speed` take most of it
def test_the_toy_run_passes_in_every_part(tmp_path, gpu):
    options = ("--device", "cpu", "--tiny", "--output", "out", "--minutes", "30")
    command = [sys.executable, str(SCRIPT), *options]
    env = os.environ | {"TRITON_INTERPRET": "1"}  # else the kernels' rows are left out
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    content = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert list(content["parts"]) == list(gpu.PARTS)
    assert {part["status"] for part in content["parts"].values()} == {"passed"}
    rows = {row["name"]: row for part in content["parts"].values() for row in part["rows"]}
    assert not [name for name, row in rows.items() if "left out" in row["note"]]
    lines = yaml.safe_load(rows["config/devices.yaml"]["note"])
    check_schema("devices", lines, "devices.yaml")


def test_what_cannot_run_is_one_sentence(gpu, tmp_path, capsys, monkeypatch):
    with pytest.raises(SystemExit) as error:
        gpu.main(["--device", "cpu", "--output", str(tmp_path)])
    assert error.value.code == 2 and "--device cpu needs --tiny" in capsys.readouterr().err
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="torch sees no GPU here; try it with --device cpu --tiny"):
        gpu.main(["--output", str(tmp_path)])


def test_a_part_brings_the_parts_that_it_needs(gpu):
    assert gpu.chosen(["devices"]) == ["ceilings", "speed", "devices"]
    assert gpu.chosen(["resume"]) == ["resume"] and gpu.chosen(None) == list(gpu.PARTS)


def test_the_share_of_idle_time_counts_overlapping_kernels_once(gpu):
    from benchmarks.gpu_parts.profile import busy_seconds

    spans = [(0, 1e6), (5e5, 2e6), (3e6, 4e6), (3.2e6, 3.5e6)]
    assert busy_seconds(spans) == pytest.approx(3.0)


def test_a_network_with_a_wrong_number_fails_its_row(gpu):
    import torch

    from benchmarks.gpu_parts.compare import compared

    wanted = {"out": torch.randn(100), "gradients": torch.randn(100)}
    assert compared("same", wanted, wanted, 1e-4)["ok"]
    wrong = wanted | {"gradients": wanted["gradients"] * 1.001}
    assert not compared("off by 0.1 %", wrong, wanted, 1e-4)["ok"]
    nan = wanted | {"out": wanted["out"] * float("nan")}
    assert not compared("NaN", nan, wanted, 1e-4)["ok"]
