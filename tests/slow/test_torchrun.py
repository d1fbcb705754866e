"""Two processes under torchrun, as a job of a cluster starts them: stopped and resumed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from gear import jobs
from gear.registry import Study

pytestmark = pytest.mark.slow

STEPS = 150


@pytest.fixture
def data(tmp_path):
    """The smoke study's images, and a long job on them."""
    study = Study("smoke")
    spec = study.spec["data"]
    folder = tmp_path / study.data.path
    command = ["gear.data.digits", "--output", folder, "--size", study.data.resolution]
    command += ["--train", spec["train"], "--val", spec["val"], "--seed", spec["seed"]]
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, cwd=tmp_path)
    job = json.loads(jobs.training(study, "vq", "400k"))
    job["stop"], job["settings"]["runtime.log_every"] = STEPS, 20
    return tmp_path, json.dumps(job), f"{study.data.path}/manifest.json"


def start(data, output):
    folder, job, manifest = data
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--shutdown-timeout", "60"]
    command = ["-m", "gear.tokenizer.train", "--job", job, "--name", "vq"]
    command += ["--output", f"{output}/vq/400k", "--data", manifest]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, *command],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_stopped_in_the_middle_it_goes_on_to_the_same_bytes(data):
    folder = data[0]
    assert start(data, "whole").wait() == 0
    job, seen = start(data, "stopped"), folder / "stopped/vq/metrics.jsonl"
    while job.poll() is None and not (seen.exists() and seen.stat().st_size):
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    said = job.communicate()[1]
    assert "the state is saved" in said and (folder / "stopped/vq/latest.pt").exists(), said
    again = start(data, "stopped")
    assert "goes on from" in again.communicate()[1] and again.returncode == 0
    # metrics.jsonl has one window whose mean was taken in another order, in its last digits
    for name in ("400k/weights.safetensors", "400k/curves.csv"):
        whole, found = (folder / run / "vq" / name for run in ("whole", "stopped"))
        assert whole.read_bytes() == found.read_bytes(), name
