"""Text-to-image trainings that are killed in the middle of a shard, with one and two processes.

The first test kills forks of this process (kill -9, as test_kills.py), the others stop jobs of
torchrun with SIGTERM and with SIGKILL. Each ends with the bytes of a run that nothing happened to.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback

import captioned
import encoders
import psutil
import pytest
import tiny

from gear import config
from gear.runtime.device import setup
from gear.runtime.loop import Segment
from gear.study import jobs
from gear.study.registry import Study
from gear.t2i.text import load_encoder

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]  # one at a time: moments

SIZES = (1, 7, 500)  # a step of 8 samples ends an epoch in the middle of a batch
STEPS, KILLS, SECONDS = 100, 12, 0.3
FILES = ("weights.safetensors", "curves.csv")


def settings_of(root, **changes):
    settings = Study("smoke").runs["gear-t2i"].settings
    changes = captioned.changes(root, **{"runtime.threads": 1, "runtime.workers": 1}, **changes)
    return config.build(config.difference(settings) | changes)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Shards, a tokenizer, a teacher and a text encoder."""
    root = tmp_path_factory.mktemp("t2i")
    encoder = encoders.write(root / "text_encoder")
    made = captioned.made(root, settings_of(root), encoder)
    captioned.shards(root, train=SIZES)
    return made


# ---- one process, killed again and again ---------------------------------------------------------


def train(home, folder):
    settings = settings_of(home.path, **{"runtime.log_every": 3, "runtime.checkpoint_minutes": 0.0})
    setup(settings)
    trainer = tiny.trainer("t2i", settings, load_encoder(home.encoder, settings.text))
    data = captioned.training_set(home.path, settings)
    Segment(trainer, data, folder / f"{STEPS}k", 0, STEPS).run("t2i")


def attempt(home, folder, log):
    """Process id of a fork that trains."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        sys.stderr = open(log, "a", buffering=1)
        train(home, folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def stamp(path):
    return path.stat().st_ino if path.exists() else None


def wait_for_a_save(latest, before, pid):
    """Until the state is another one than `before`, or the process has ended."""
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while stamp(latest) == before and os.waitid(os.P_PID, pid, ended) is None:
        time.sleep(0.002)


def test_killed_in_shards_equals_uninterrupted(home, tmp_path):
    moments = random.Random("t2i 2026")
    log, latest = tmp_path / "log.txt", tmp_path / "killed/latest.pt"
    killed = 0
    while killed < KILLS:
        before = stamp(latest)
        pid = attempt(home, tmp_path / "killed", log)
        wait_for_a_save(latest, before, pid)
        time.sleep(moments.uniform(0.0, SECONDS))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):  # it was done before its kill came
            assert os.WEXITSTATUS(status) == 0, log.read_text()
            break
        killed += 1
    assert killed >= 5, "the run ended too soon for this test to say much"
    pid = attempt(home, tmp_path / "killed", log)
    assert os.waitpid(pid, 0)[1] == 0, log.read_text()
    assert "goes on from" in log.read_text()
    train(home, tmp_path / "whole")
    for name in (*(f"{STEPS}k/{file}" for file in FILES), "metrics.jsonl"):
        found, whole = (tmp_path / run / name for run in ("killed", "whole"))
        assert found.read_bytes() == whole.read_bytes(), name


# ---- the command, with one and two processes -----------------------------------------------------


def start(home, output, processes):
    """A job of the stage, as its rule starts it."""
    settings = settings_of(
        home.path, **{"runtime.log_every": 10, "runtime.checkpoint_minutes": 0.005}
    )
    line = {"settings": jobs.difference(settings), "start": 0, "stop": STEPS}
    options = {"job": json.dumps(line), "name": "t2i", "output": home.path / output / "1k"}
    options |= {"data": home.manifest, "tokenizer": home.tokenizer, "teacher": home.teacher}
    options |= {"encoder": home.encoder}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    launcher += ["--shutdown-timeout", "60"]
    return subprocess.Popen(
        [sys.executable, *(launcher if processes > 1 else []), "-m", "gear.t2i.train", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module", params=[1, 2])
def whole(request, home):
    """(number of processes, the folder of the run that nothing happened to)."""
    job = start(home, f"whole-{request.param}", request.param)
    said = job.communicate()[1]
    assert job.returncode == 0, said
    return request.param, home.path / f"whole-{request.param}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_stopped_job_goes_on_to_the_same_bytes(home, whole, number):
    processes, undisturbed = whole
    name = f"stopped-{processes}-{number.name}"
    folder = home.path / name
    job, seen, state = start(home, name, processes), folder / "metrics.jsonl", folder / "latest.pt"
    while job.poll() is None and not (seen.exists() and seen.stat().st_size and state.exists()):
        time.sleep(0.01)
    assert job.poll() is None, job.communicate()[1]
    if number == signal.SIGTERM:
        job.send_signal(number)
    else:
        # torchrun's processes have sessions of their own, which a signal to its group misses
        for process in (*psutil.Process(job.pid).children(recursive=True), job):
            process.kill()
    said = job.communicate()[1]
    assert ("the state is saved" in said) == (number == signal.SIGTERM), said
    if (folder / "1k").exists():  # its end deletes the state
        pytest.skip("the training had ended before the signal came: the machine is too busy")
    assert state.exists()
    again = start(home, name, processes)
    said = again.communicate()[1]
    assert again.returncode == 0 and "goes on from" in said, said
    for file in (*(f"1k/{each}" for each in FILES), "metrics.jsonl"):
        assert (folder / file).read_bytes() == (undisturbed / file).read_bytes(), file
    record = json.loads((folder / "1k/run.json").read_text())
    assert record["processes"] == processes and record["attempts"] == 2
