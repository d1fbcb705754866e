"""A trainer that is killed (kill -9) again and again ends with the bytes of one that is not.

Each attempt is a fork of this process, which has imported torch already. A fifth of the kills are
in the middle of writing a state, a fifth come at any moment from the start, the others at a random
moment after the attempt has saved something.
"""

import os
import random
import signal
import sys
import time
import traceback

import pytest
import tiny

from gear import config
from gear.runtime import checkpoint
from gear.runtime.device import setup
from gear.runtime.loop import Segment
from gear.study.registry import Study

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]  # one at a time: moments

RUNS = {"tokenizer": "vq", "joint": "gear-l", "ar": "llamagen-repa-l"}
STEPS, KILLS, SECONDS = 80, 20, 0.2
SETTINGS = {"runtime.log_every": 3, "runtime.checkpoint_minutes": 0.0, "runtime.threads": 1}


def train(stage, folder):
    settings = Study("smoke").runs[RUNS[stage]].settings
    settings = config.build(config.difference(settings) | SETTINGS)
    setup(settings)
    trainer, images = tiny.trainer(stage, settings), tiny.RandomImages(settings)
    Segment(trainer, images, folder / f"{STEPS}k", 0, STEPS).run(stage)


def torn_write(path, state):
    """Half a state, then the end."""
    whole = path.with_suffix(".whole")
    write_state(whole, state)
    data = whole.read_bytes()
    whole.unlink()
    path.write_bytes(data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


write_state = checkpoint.write_state


def attempt(stage, folder, log, torn):
    """Process id of a fork that trains."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        sys.stderr = open(log, "a", buffering=1)
        if torn:
            checkpoint.write_state = torn_write
        train(stage, folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait_for_a_save(latest, before, pid):
    """Until the state is another one than `before`, or the process has ended."""
    while stamp(latest) == before and os.waitid(os.P_PID, pid, ENDED) is None:
        time.sleep(0.002)


ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


def stamp(path):
    try:  # the file may be gone at any moment
        return path.stat().st_ino
    except FileNotFoundError:
        return None


@pytest.mark.parametrize("stage", RUNS)
def test_killed_twenty_times_equals_uninterrupted(stage, tmp_path):
    moments = random.Random(f"{stage} 2026")
    log, latest = tmp_path / "log.txt", tmp_path / "killed" / "latest.pt"
    killed = 0
    while killed < KILLS:
        torn, before = killed % 5 == 4, stamp(latest)
        pid = attempt(stage, tmp_path / "killed", log, torn)
        if not torn:
            if killed % 5:
                wait_for_a_save(latest, before, pid)
            time.sleep(moments.uniform(0.0, SECONDS))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):  # it was done before its kill came
            assert os.WEXITSTATUS(status) == 0, log.read_text()
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        killed += 1
    assert killed >= 10, "the run ended too soon for this test to say much"
    pid = attempt(stage, tmp_path / "killed", log, torn=False)
    assert os.waitpid(pid, 0)[1] == 0, log.read_text()
    assert "goes on from" in log.read_text()
    train(stage, tmp_path / "whole")

    for name in (f"{STEPS}k/weights.safetensors", f"{STEPS}k/curves.csv", "metrics.jsonl"):
        found, whole = (tmp_path / run / name for run in ("killed", "whole"))
        assert found.read_bytes() == whole.read_bytes(), name
    left = sorted(p.name for p in (tmp_path / "killed").rglob("*") if p.is_file())
    assert left == sorted(p.name for p in (tmp_path / "whole").rglob("*") if p.is_file())
