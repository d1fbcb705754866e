"""How a training module is started, and what its job does when its time is over.

Command lines are compared with those of torchrun and srun; a pretended SLURM notes what it is told.
"""

import argparse
import os
import subprocess
import sys
import time

import pytest

from gear.launch import __main__ as launch
from gear.study import jobs
from gear.study.registry import Study

MODULE = ["gear.ar.train", "--output", "results/x/ar/run/400k"]


def line(job=None, **given):
    usual = {"nodes": 1, "processes": 1, "cpus": 0, "gpus": 0, "module": MODULE}
    return launch.command(argparse.Namespace(**usual | given), job)


def test_one_process_is_started_as_any_job():
    assert line() == [sys.executable, "-m", "gear.launch.warm", *MODULE]


def test_several_processes_of_one_node_are_torchruns():
    found = line(processes=4)
    assert found[:4] == [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=4"]
    assert found[-5:] == ["--standalone", "-m", *MODULE] and "srun" not in found


def test_processes_are_counted_by_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert "--nproc-per-node=3" in line(processes=0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert line(processes=0) == line()


def test_several_nodes_are_spelled_out_for_srun():
    found = line(job="123", nodes=2, processes=8, cpus=64, gpus=8)
    assert found[:3] == ["srun", "--nodes=2", "--ntasks-per-node=1"]
    assert {"--cpus-per-task=64", "--gpus-per-node=8"} <= set(found[: found.index(sys.executable)])
    assert {"--nnodes=2", "--nproc-per-node=8", "--rdzv-id=123"} <= set(found)
    assert found[-4:] == ["-m", *MODULE]


def test_several_nodes_need_a_job():
    with pytest.raises(ValueError, match="asks for 2 nodes, which only a SLURM job has; use --pro"):
        line(nodes=2)


SCONTROL = """#!/bin/sh
echo "$@" >> {folder}/calls
[ "$1" = show ] && echo "   RunTime=00:00:01 StartTime=x EndTime={end} Deadline=N/A"
[ "$1" = requeue ] && kill $PPID
exit 0
"""


@pytest.fixture
def slurm(tmp_path):
    """slurm(module, seconds left) -> what a job of a cluster did that launched it."""
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"

    def run(code, left):
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + left))
        scontrol.write_text(SCONTROL.format(folder=tmp_path, end=end))
        scontrol.chmod(0o755)
        (tmp_path / "job.py").write_text(f"import sys, time\n\ndef main():\n    {code}\n")
        path = os.pathsep.join(p for p in sys.path if p)
        environment = os.environ | {
            "PATH": f"{scontrol.parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{path}",
            "SLURM_JOB_ID": "42",
        }
        command = [sys.executable, "-m", "gear.launch", "--", "job", "--output", "run/400k"]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        return done, (tmp_path / "calls").read_text().split("\n")[:-1]

    return run


def test_a_job_whose_time_is_over_is_queued_again(slurm):
    done, calls = slurm("time.sleep(4); raise SystemExit(143)", left=4)
    assert calls == ["show job 42", "requeue 42"]
    assert "job 42 goes back into the queue, to go on from its state" in done.stdout
    assert done.returncode < 0  # SLURM ended it, here our scontrol


def test_a_crash_is_snakemakes_to_try_again(slurm, tmp_path):
    for number in (1, 2):
        done, calls = slurm("print('step', 7); raise SystemExit(3)", left=3600)
        assert done.returncode == 3 and calls == ["show job 42"] * number
    logs = sorted(p.name for p in (tmp_path / "run/log").iterdir())
    assert logs == ["400k.1.txt", "400k.2.txt"]
    assert (tmp_path / "run/log/400k.1.txt").read_text() == "step 7\n"


def test_what_the_study_says_becomes_resources(paper, smoke, edited_config):
    assert jobs.needs(smoke, "train_ar") == {
        "nodes": 1,
        "processes": 1,
        "cpus_per_task": 1,
        "gpus_per_node": 0,
    }
    found = jobs.needs(paper, "train_joint")
    assert (found["gpu"], found["processes"], found["mem_mb"]) == (8, 0, 256000)
    assert "mpi" not in found and found["runtime"] == 1440
    folder = edited_config(
        "studies/paper.yaml", "train_ar: {gpus: 8", "train_ar: {nodes: 2, gpus: 8"
    )
    two = jobs.needs(Study("paper", folder=folder), "train_ar")
    assert (two["mpi"], two["tasks"], two["nodes"]) == ("srun", 2, 2) and "gpu" not in two
    assert two["slurm_extra"] == "'--gpus-per-node=8'"
