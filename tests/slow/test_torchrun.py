"""Two processes under torchrun, as a job of a cluster starts them: stopped and resumed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from gear.study import jobs
from gear.study.registry import Study

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]  # one at a time: moments

STEPS = 150


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The smoke study's images, and a long job on them."""
    study, top = Study("smoke"), tmp_path_factory.mktemp("torchrun")
    spec = study.spec["data"]
    folder = top / study.data.path
    command = ["gear.data.digits", "--output", folder, "--size", study.data.resolution]
    command += ["--train", spec["train"], "--val", spec["val"], "--seed", spec["seed"]]
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, cwd=top)
    job = json.loads(jobs.training(study, "vq", "400k"))
    job["stop"], job["settings"]["runtime.log_every"] = STEPS, 20
    return top, json.dumps(job), f"{study.data.path}/manifest.json"


ONE_NODE = ["--nproc-per-node", "2"]


def start(data, output, shape=ONE_NODE):
    """A launcher of torchrun: of all processes, or of one node's."""
    folder, job, manifest = data
    launcher = ["torch.distributed.run", *shape, "--shutdown-timeout", "60"]
    command = ["-m", "gear.tokenizer.train", "--job", job, "--name", "vq"]
    command += ["--output", f"{output}/vq/400k", "--data", manifest]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, *command],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def whole(data):
    """The run of two processes that nothing happened to."""
    assert start(data, "whole").wait() == 0
    return data[0] / "whole/vq"


def test_stopped_in_the_middle_it_goes_on_to_the_same_bytes(data, whole):
    folder = data[0]
    job, seen = start(data, "stopped"), folder / "stopped/vq/metrics.jsonl"
    while job.poll() is None and not (seen.exists() and seen.stat().st_size):
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    said = job.communicate()[1]
    assert "the state is saved" in said and (folder / "stopped/vq/latest.pt").exists(), said
    again = start(data, "stopped")
    assert "goes on from" in again.communicate()[1] and again.returncode == 0
    for name in ("400k/weights.safetensors", "400k/curves.csv", "metrics.jsonl"):
        assert (whole / name).read_bytes() == (folder / "stopped/vq" / name).read_bytes(), name


def test_two_nodes_are_as_two_processes_of_one(data, whole):
    """Two launchers that meet at an address, as on two hosts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    meet = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"]
    meet += ["--rdzv-endpoint", address, "--rdzv-id", "gear"]
    nodes = [start(data, "nodes", meet) for _ in range(2)]
    said = [node.communicate()[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    found = data[0] / "nodes/vq/400k"
    for name in ("weights.safetensors", "curves.csv"):
        assert (found / name).read_bytes() == (whole / "400k" / name).read_bytes(), name
    assert json.loads((found / "run.json").read_text())["processes"] == 2
