"""Snakemake is killed again and again at random moments of the smoke study, and run again.

At the end there are the files and bytes of an undisturbed run. By hand, with a line for each kill:

    PYTHONPATH=tests/helpers python tests/slow/test_killed_snakemake.py SEED KILLS
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from checkout import ROOT, copy_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]

TARGET = "quick"
WAYS = {  # of a kill: the signals, and whether all processes of the run get them
    "SIGKILL": ([signal.SIGKILL], False),
    "SIGINT": ([signal.SIGINT], False),
    "SIGTERM": ([signal.SIGTERM], False),
    "SIGKILL of all": ([signal.SIGKILL], True),
    "SIGINT twice": ([signal.SIGINT] * 2, False),
    "SIGTERM twice": ([signal.SIGTERM] * 2, False),
    "Ctrl-C": ([signal.SIGINT], True),
    "Ctrl-C twice": ([signal.SIGINT] * 2, True),
}
PAUSE = 1.5  # seconds, at most, from the end of a job to a kill, and between two signals
LONGEST = 1800  # seconds of a run on a busy machine
TIMES = {"wall_s", "cpu_s", "attempts", "seconds", "gpu_hours", "time"}  # keys of run.json


class Run:
    """A Snakemake in a process group of its own."""

    def __init__(self, checkout, number):
        self.log = checkout.folder / f"{number}.log"
        words = ["snakemake", TARGET, "--workflow-profile", "workflow/profiles/local"]
        self.process = subprocess.Popen(
            [*words, "--config", "study=smoke"],
            cwd=checkout.folder,
            env=checkout.environment(),
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def said(self):
        return self.log.read_text(errors="replace")

    def planned(self):
        """The number of jobs of the run, or None before Snakemake has said it."""
        found = re.search(r"^total +(\d+)$", self.said(), re.M)
        return int(found[1]) if found else None

    def wait_for(self, finished):
        """Until so many jobs have ended; False where the run ended before."""
        while self.said().count("Finished jobid") < finished:
            if self.process.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def descendants(self):
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def running(self):
        """The modules of the jobs that run at this moment."""
        modules = set()
        for process in self.descendants():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if words[:1] and words[0].endswith("python"):
                modules |= {w for w in words if re.fullmatch(r"gear\.(?!launch)[a-z_.]+", w)}
        return " ".join(sorted(modules)) or "no job"

    def kill(self, signals, everyone, pause):
        """Send the signals; the exit status. The process must be alive before and dead after."""
        assert self.process.poll() is None
        for number in signals:
            if self.process.poll() is not None:
                break
            send = os.killpg if everyone else os.kill
            send(self.process.pid, number)
            time.sleep(pause)
        return self.process.wait(LONGEST)


def killed(checkout, number, ways, moments, left):
    """A run that is killed: (line for people, finished), or the whole run if it was faster."""
    run = Run(checkout, number)
    early = moments.random() < 0.1  # before the first job
    while run.planned() is None and run.process.poll() is None and not early:
        time.sleep(0.02)
    jobs = run.planned() or 1
    if not run.wait_for(moments.randrange(max(1, min(jobs, 2 * jobs // (left + 1))))):
        return run, None
    time.sleep(moments.uniform(0.0, PAUSE))
    if run.process.poll() is not None:
        return run, None
    way = ways[number % len(ways)]
    rules, before = run.running(), run.descendants()
    ended = run.said().count("Finished jobid")
    status = run.kill(*WAYS[way], moments.uniform(0.1, PAUSE))
    assert status == -signal.SIGKILL if "SIGKILL" in way else status not in (0, None), (way, status)
    if "SIGKILL" not in way:
        assert "Traceback" not in run.said(), (way, run.said())
    alive = [p for p in before if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    return run, {"kill": way, "after": f"{ended} of {jobs}", "ran": rules, "status": status,
                 "went on": len(alive)}  # fmt: skip


def made_with_kills(checkout, seed, kills, tell=lambda row: None):
    """Make the target with kills; returns the rows of the kills."""
    moments, rows, number = random.Random(f"snakemake {seed}"), [], 0
    ways = moments.sample(list(WAYS), len(WAYS))
    while len(rows) < kills:
        run, row = killed(checkout, len(rows), ways, moments, kills - len(rows))
        if row is None:
            assert run.process.returncode == 0 or refused(run), run.said()
            if run.process.returncode == 0:
                break
            continue
        row["locked"] = any((checkout.folder / ".snakemake").glob("locks/*"))
        if row["locked"]:
            unlock = checkout.run("snakemake", "--unlock", "--config", "study=smoke")
            assert unlock[0] == 0, unlock[1]
        tell(row)
        rows.append(row)
    for number in range(5):
        run = Run(checkout, f"last{number}")
        if run.process.wait(LONGEST) == 0:
            return rows
        assert refused(run), run.said()
        time.sleep(5.0)
    raise AssertionError("a training of a killed Snakemake did not end")


def refused(run):
    """Whether a run ended only because a training of a killed Snakemake still ran."""
    return "is being written by process" in run.said() and "Traceback" not in run.said()


def content(path):
    """What of a file must be equal: all of it, but the times in a run.json."""
    if path.name == "run.json":
        record = json.loads(path.read_text())
        return {key: value for key, value in record.items() if key not in TIMES}
    return path.read_bytes()


def tree(folder):
    """{file: content} of the results and the data; logs, times and training states are left out."""
    found = {}
    for top in ("results/smoke", "data"):
        for path in sorted((folder / top).rglob("*")):
            name = path.relative_to(folder)
            left_out = {"log", "benchmark", "lock"} & set(name.parts)
            if path.is_file() and not left_out and path.suffix not in (".tsv", ".pt", ".txt"):
                found[str(name)] = content(path)
    return found


def different(found, whole):
    return [name for name in sorted(found | whole) if found.get(name) != whole.get(name)]


def undisturbed(folder):
    checkout = copy_of(ROOT, folder)
    status, text = checkout.snakemake(TARGET)
    assert status == 0, text[-3000:]
    return checkout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("whole") / "gear")


def test_killed_and_run_again_equals_undisturbed(finished, tmp_path):
    checkout = copy_of(ROOT, tmp_path / "killed")
    rows = made_with_kills(checkout, seed=1, kills=3)
    assert len(rows) == 3, "the study ended before its kills"
    assert not different(tree(checkout.folder), tree(finished.folder))


DELETED = (  # of the finished study
    "data/digits-smoke",
    "results/smoke/ar/llamagen-repa-l",
    "results/smoke/joint/gear-l/400k/weights.safetensors",
    "results/smoke/samples/joint/gear-l-ste/400k",
    "results/smoke/metrics/joint/gear-l-control/400k/validation.json",
    "results/smoke/features/reference.npz",
    "results/smoke/tables/overview.md",
)


def test_what_was_deleted_is_made_again(finished):
    whole = tree(finished.folder)
    for name in DELETED:
        path = finished.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    status, text = finished.snakemake(TARGET)
    assert status == 0 and "Traceback" not in text, text[-3000:]
    assert not different(tree(finished.folder), whole)


if __name__ == "__main__":
    seed, kills = sys.argv[1:]
    with tempfile.TemporaryDirectory() as top:
        whole = tree(undisturbed(Path(top, "whole")).folder)
        print(f"undisturbed: {len(whole)} files", flush=True)
        checkout = copy_of(ROOT, Path(top, "killed"))
        rows = made_with_kills(checkout, seed, int(kills), lambda row: print(row, flush=True))
        print(f"{len(rows)} kills, different: {different(tree(checkout.folder), whole)}")
