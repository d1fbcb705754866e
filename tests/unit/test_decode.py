"""The processes that decode images: they change nothing, say what is wrong, and end in time.

Pixels are compared with those of the same files decoded in this process; processes are killed,
stopped and left alone.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from gear.data.decode import AHEAD, Ahead
from gear.data.transforms import training_pixels, validation_pixels

SIZE, ROWS, BATCHES = 16, 3, 6


@pytest.fixture(scope="module")
def orders(tmp_path_factory, photo):
    """orders(number): of three images of a batch, training and validation mixed."""
    root = tmp_path_factory.mktemp("files")
    for i in range(ROWS * BATCHES):
        photo(20 + i, 33, i).save(root / f"{i}.png")

    def of(number):
        numbers = range(ROWS * BATCHES)[number * ROWS : (number + 1) * ROWS]
        how = ("bilinear", (0.2, 0.7, 0.4), (0.9, 0.1, 0.6))
        return [(str(root / f"{i}.png"), how[i % ROWS]) for i in numbers]

    return of


def expected_pixels(path, how):
    if isinstance(how, str):
        return validation_pixels(path, 3, SIZE, how)
    return training_pixels(path, 3, SIZE, how)


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_any_number_of_processes_gives_the_same_pixels_in_any_sequence(orders, workers):
    ahead = Ahead(orders, ROWS, SIZE, 3, workers)
    for number in (2, 3, 4, 5, 0, 1, 5, 5, 3):
        found = np.stack([expected_pixels(*order) for order in orders(number)])
        assert np.array_equal(ahead.get(number), found)
    assert len(ahead.processes) == workers


def test_no_more_than_a_few_batches_are_asked_for_ahead(orders):
    asked = []
    ahead = Ahead(lambda number: asked.append(number) or orders(number), ROWS, SIZE, 3, 1)
    for number in range(BATCHES):
        assert len(ahead.get(number)) == ROWS
        assert max(asked) == min(number + AHEAD - 1, BATCHES)  # where nothing follows


def test_batches_ahead_are_decoded_before_they_are_asked_for(orders):
    ahead = Ahead(orders, ROWS, SIZE, 3, 1)
    ahead.get(0)
    later = np.stack([expected_pixels(*order) for order in orders(2)])
    end = time.monotonic() + 10
    while not np.array_equal(ahead.memory_SNHWC[2], later):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_file_is_named_in_one_sentence(orders, tmp_path, workers):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    bad = [*orders(0)[:2], (str(tmp_path / "bad.jpg"), "bicubic")]
    ahead = Ahead(lambda number: bad if number == 1 else orders(number), ROWS, SIZE, 3, workers)
    ahead.get(0)
    with pytest.raises(ValueError) as error:
        ahead.get(1)
    said = str(error.value)
    assert said.startswith(f"{tmp_path}/bad.jpg cannot be read as an image (") and "\n" not in said


def test_a_process_that_was_killed_is_named(orders):
    ahead = Ahead(orders, ROWS, SIZE, 3, 2)
    ahead.get(0)
    ahead.processes[1].kill()
    ahead.processes[1].wait()
    with pytest.raises(ValueError, match=r"decodes images ended with status -9, .*; lower runtime"):
        for number in range(1, BATCHES):
            ahead.get(number)


def test_a_process_that_is_killed_while_it_is_waited_for_is_named(orders, tmp_path):
    os.mkfifo(tmp_path / "never.png")
    stuck = [*orders(0)[:2], (str(tmp_path / "never.png"), "bicubic")]
    ahead = Ahead(lambda number: [] if number else stuck, ROWS, SIZE, 3, 2)

    def kill():
        while len(ahead.processes) < 2:
            time.sleep(0.01)
        ahead.processes[0].kill()

    threading.Thread(target=kill).start()
    with pytest.raises(ValueError, match="decodes images ended with status -9, "):
        ahead.get(0)


def test_a_stopped_training_still_gets_its_images(orders):
    """SLURM signals all processes of a job: the step that is running has to end."""
    ahead = Ahead(orders, ROWS, SIZE, 3, 2)
    ahead.get(0)
    for process in ahead.processes:
        for number in (signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
    for number in range(1, BATCHES):
        assert len(ahead.get(number)) == ROWS


TRAINING = """
import json, sys, time
from gear.data.decode import Ahead
ahead = Ahead(lambda number: json.loads(sys.argv[1]), 3, 16, 3, 2)
ahead.get(0)
print(*[p.pid for p in ahead.processes], flush=True)
time.sleep(float(sys.argv[2]))
"""


def gone(pid, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True  # ended; its new parent has not looked yet
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_processes_end_with_their_training(orders, how):
    seconds = "0" if how == "ends" else "60"
    command = [sys.executable, "-c", TRAINING, json.dumps(orders(0)), seconds]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with parent:
        pids = parent.stdout.readline().split()
        assert len(pids) == 2
        if how == "is killed":
            parent.kill()
        assert parent.wait() == (0 if how == "ends" else -9)
        assert parent.stderr.read() == ""
    assert all(gone(pid) for pid in pids)


def test_images_that_are_not_used_any_more_leave_no_processes(orders):
    ahead = Ahead(orders, ROWS, SIZE, 3, 2)
    ahead.get(0)
    pids = [p.pid for p in ahead.processes]
    del ahead
    assert all(gone(pid) for pid in pids)


def test_the_processes_import_no_torch():
    code = "import sys, gear.data.decode, gear.data.survey; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
