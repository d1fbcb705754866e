"""A job in the warm process is to its caller what it would be in a process of its own.

A small job is begun both ways; status, output, parents and signals are compared.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

JOB = """
import os, signal, sys, time

def main():
    what = sys.argv[1]
    if what == "say":
        print("arguments", sys.argv, "folder", os.getcwd())
        print("to the log", file=sys.stderr)
    if what == "where":
        print(os.getppid(), "torch" in sys.modules)
    if what == "mistake":
        from gear.files.mistakes import Mistake
        raise Mistake("the sentence; the cure.")
    if what == "bug":
        raise KeyError("impossible")
    if what == "torch":
        import torch
        torch.nn.functional.cross_entropy(torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64))
    if what == "status":
        raise SystemExit(7)
    if what == "text":
        raise SystemExit("no more of this")
    if what == "handle":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if what in ("handle", "wait"):
        print(os.getpid(), flush=True)
        time.sleep(60)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    (folder / "a_job.py").write_text(JOB)
    return folder


@pytest.fixture(scope="module")
def environment(folder):
    plain = {k: v for k, v in os.environ.items() if not k.startswith("GEAR_")}
    paths = [str(folder), *filter(None, [plain.get("PYTHONPATH")])]
    return plain | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": ""}


def serve(environment, socket):
    command = [sys.executable, "-m", "gear.launch.warm", "--serve", str(socket)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    end = time.monotonic() + 100
    while not socket.exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    return process


@pytest.fixture(scope="module")
def server(folder, environment):
    process = serve(environment, folder / "socket")
    yield process
    process.stdin.close()
    process.wait(20)


@pytest.fixture
def begin(environment, folder):
    """begin(way, *arguments) -> a Popen of the job, in a process of its own or the warm one."""
    begun = []

    def start(way, *arguments):
        more = {"here": {}, "gone": {"GEAR_WARM": str(folder / "none")}}
        more["warm"] = {"GEAR_WARM": str(folder / "socket")}
        begun.append(
            subprocess.Popen(
                [sys.executable, "-m", "gear.launch.warm", "a_job", *arguments],
                env=environment | more[way],
                cwd=folder,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def outcome(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("way", ["here", "gone", "warm"])
def test_status_output_and_sentence_come_through(server, begin, folder, way):
    words = ("say", "status", "mistake", "text", "bug", "torch")
    jobs = {word: begin(way, word, "τ") for word in words}
    found = {what: outcome(job) for what, job in jobs.items()}
    said = f"arguments ['a_job', 'say', 'τ'] folder {folder}\n"
    assert found["say"] == (0, said, "to the log\n")
    assert found["status"] == (7, "", "")
    assert found["mistake"] == (1, "", "a_job: the sentence; the cure.\n")
    assert found["text"] == (1, "", "no more of this\n")
    for word, said in (("bug", "KeyError: 'impossible'"), ("torch", "ValueError: Expected input")):
        status, _, err = found[word]  # a ValueError of a library is a bug, no user's mistake
        assert status == 1 and err.startswith("Traceback") and said in err, err


def test_where_the_job_runs(server, begin):
    here, warm = (begin(way, "where") for way in ("here", "warm"))
    assert outcome(here)[1] == f"{os.getpid()} False\n"
    assert outcome(warm)[1] == f"{server.pid} True\n"


def gone(pid):
    """Whether the process ends within some seconds."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_signal_to_the_caller_is_one_to_the_job(server, begin):
    waiting, handling = begin("warm", "wait"), begin("warm", "handle")
    pids = [int(job.stdout.readline()) for job in (waiting, handling)]
    assert server.pid not in pids and waiting.pid not in pids  # both at once, in forks
    handling.send_signal(signal.SIGTERM)
    assert outcome(handling)[0] == 143
    os.kill(pids[0], 0)  # the other goes on
    waiting.send_signal(signal.SIGTERM)
    assert outcome(waiting) == (1, "", "the job's process was killed\n")
    assert gone(pids[0]) and gone(pids[1])


def test_a_job_does_not_outlive_its_caller(server, begin):
    job = begin("warm", "wait")
    pid = int(job.stdout.readline())
    job.kill()
    assert gone(pid)


def test_a_killed_job_is_a_failed_job(server, begin):
    job = begin("warm", "wait")
    os.kill(int(job.stdout.readline()), signal.SIGKILL)
    assert outcome(job) == (1, "", "the job's process was killed\n")


def test_the_warm_process_ends_with_its_parent(server, begin, folder):
    """Last of all: a terminal's interrupt does not end it, the end of its standard input does."""
    server.send_signal(signal.SIGINT)
    assert outcome(begin("warm", "status"))[0] == 7
    server.stdin.close()
    assert server.wait(20) == 0
    assert not (folder / "socket").exists()
    assert outcome(begin("warm", "status"))[0] == 7  # the job then runs by itself
