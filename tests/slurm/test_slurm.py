"""A real SLURM on this host: a whole study in the queue, every fault on a training, two nodes.

All runs of the study `faults` have the same settings, so that each must end with the bytes of the
one that nothing happened to.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cluster
import pytest
import yaml
from checkout import ROOT, copy_of

from gear.study import jobs
from gear.study.registry import Study

pytestmark = pytest.mark.cluster

FAULTS = ("none", "crash", "scancel", "requeue", "preempt", "down", "timeout")
STEPS = 400
PROFILE = {
    "slurm-init-seconds-before-status-checks": 2,
    "seconds-between-status-checks": 2,
    "latency-wait": 5,
}
PATIENCE = 480  # seconds for anything to happen


def until(condition, seconds=PATIENCE):
    """The first true value of condition()."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {condition.__name__}")


def slurm(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module", autouse=True)
def sandbox(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    cluster.start(folder)
    yield
    cluster.stop(folder)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A working copy with the study `faults`: one tokenizer training for each fault, one table."""
    checkout = copy_of(ROOT, tmp_path_factory.mktemp("checkout") / "gear")
    config = checkout.folder / "config"
    study = yaml.safe_load((config / "studies/smoke.yaml").read_text())
    study |= {"tables": ["faults"], "figures": [], "title": "faults", "together": False}
    study["milestones"]["tokenizer"] = {"400k": STEPS}
    study["settings"]["runtime"]["checkpoint_minutes"] = 0.005
    for part in ("tokenizer", "discriminator"):  # for the comparison of one process and four
        study["settings"]["optim"][f"lr_{part}"] = 1e-4
    (config / "studies/faults.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    runs = (config / "runs.yaml").read_text()
    lines = "".join(f"  vq-{fault}: {{from: vq}}\n" for fault in (*FAULTS, "orphan", "nodes"))
    (config / "runs.yaml").write_text(runs.replace("\njoint:\n", f"{lines}\njoint:\n", 1))
    rows = "".join(f'    - {{row: "{fault}", run: vq-{fault}@400k}}\n' for fault in FAULTS)
    with open(config / "tables.yaml", "a", encoding="utf-8") as file:
        file.write(
            f"\nfaults:\n  title: Faults\n  samplers: []\n  metrics: [rfid, psnr]\n  rows:\n{rows}"
        )
    profile = checkout.folder / "workflow/profiles/slurm/config.yaml"
    settings = yaml.safe_load(profile.read_text()) | PROFILE
    profile.write_text(yaml.safe_dump(settings))
    return checkout


def command(*targets, study="faults"):
    return ["snakemake", *targets, "--profile", "slurm", "--config", f"study={study}"]


def begin(checkout, *targets):
    """Snakemake on the cluster, in the background."""
    return subprocess.Popen(
        command(*targets),
        cwd=checkout.folder,
        env=checkout.environment(),
        stdout=open(checkout.folder / "snakemake.log", "ab"),
        stderr=subprocess.STDOUT,
    )


class Run:
    """A training in the queue."""

    def __init__(self, checkout, name):
        self.checkout, self.name = checkout, name
        self.folder = checkout.folder / "results/faults/tokenizer" / name

    def trains(self):
        """Whether a trainer is at work that has saved a state, or goes on from one."""
        if not (self.folder / "latest.pt").exists():
            return False
        command = Path(f"/proc/{self.pid}/cmdline")
        return command.exists() and b"gear.tokenizer.train" in command.read_bytes()

    @property
    def pid(self):
        """Of the trainer that holds the run's lock, or held it last; 0 while one takes it."""
        found = re.match(r"process (\d+) on ", (self.folder / "lock").read_text())
        return int(found[1]) if found else 0

    def job(self):
        """(number, node) of the job that trains it; None where another fault has just ended it."""
        for line in slurm("squeue", "-h", "-t", "R", "-o", "%i %N %k").splitlines():
            number, node, comment = line.split(" ", 2)
            if self.name in comment:
                return number, node
        return None

    def said(self):
        """What all attempts printed."""
        return "".join(p.read_text() for p in sorted((self.folder / "log").glob("400k.*.txt")))

    def results(self):
        return [
            (self.folder / "400k" / f).read_bytes() for f in ("weights.safetensors", "curves.csv")
        ]


def strike(run, fault, number, node):
    """Do to a running training, and to its job and node, what its name says."""
    if fault == "crash":
        os.kill(run.pid, signal.SIGKILL)
    elif fault == "scancel":
        slurm("scancel", number)
    elif fault == "requeue":
        slurm("scontrol", "requeue", number)
    elif fault == "preempt":
        slurm(
            "sbatch",
            "-p",
            "urgent",
            "-w",
            node,
            "--exclusive",
            "-o",
            "/dev/null",
            "--wrap",
            "sleep 3",
        )
    elif fault == "down":
        slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        time.sleep(3)  # a node that answers may be back by itself
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=False)
    elif fault == "timeout":  # it hangs, and its time is cut
        os.kill(run.pid, signal.SIGSTOP)
        slurm("scontrol", "update", f"jobid={number}", "TimeLimit=1")


def release_held():
    """What an administrator does with a job that its node, which was down, could not start."""
    for line in slurm("squeue", "-h", "-t", "PD", "-o", "%i %r").splitlines():
        number, reason = line.split(" ", 1)
        if reason == "launch failed requeued held":
            slurm("scontrol", "release", number)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"default-resources": {"slurm_partition": "bach"}}, "Did you mean 'batch'?"),
        ({"default-resources": {"slurm_account": "lab"}}, "counts no accounts"),
        ({"default-resources": {"mem_mb": 64000}}, "64000 MB of a node's memory, but partition"),
        ({"slurm-status-command": "sacct"}, "this cluster keeps no accounting"),
    ],
)
def test_what_could_never_run_is_said_before_it_is_queued(checkout, changes, sentence):
    profile = checkout.folder / "workflow/profiles/slurm/config.yaml"
    text = profile.read_text()
    profile.write_text(yaml.safe_dump(yaml.safe_load(text) | changes))
    try:
        status, said = checkout.run(*command("faults"))
    finally:
        profile.write_text(text)
    assert status != 0 and sentence in said.strip().splitlines()[-1], said
    assert slurm("squeue", "-h") == ""


def test_each_rule_of_the_smoke_study_in_the_queue_makes_the_bytes_of_a_local_one(checkout):
    def targets(results):
        of_t2i = f"{results}/smoke/metrics/t2i/llamagen-repa-t2i/50k/text.json"
        return "quick", f"{results}/smoke/analysis/joint/gear-l/400k.json", of_t2i

    # as each table and target
    here = {"claims", "claims_t2i", "make_claims", "all_tables", "quick"}
    rules = checkout.planned(*targets("local"), results="local").keys() - here
    assert rules >= checkout.planned("all_tables", results="local").keys() - here
    status, said = checkout.snakemake(*targets("local"), results="local")
    assert status == 0, said[-3000:]
    status, said = checkout.run(*command(*targets("results"), study="smoke"))
    assert status == 0, said[-3000:]
    local, queued = (checkout.folder / results / "smoke" for results in ("local", "results"))
    names = [p.relative_to(local) for p in local.rglob("*.csv")]
    names += [p.relative_to(local) for p in local.rglob("weights.safetensors")]
    names += [p.relative_to(local) for p in (local / "analysis").rglob("400k.json")]
    stages = {"tokenizer", "joint", "ar", "t2i"}
    assert {"tables", "analysis", *stages} <= {name.parts[0] for name in names}
    for name in names:
        assert (queued / name).read_bytes() == (local / name).read_bytes(), name


def test_every_fault_ends_with_the_bytes_of_an_undisturbed_run(checkout):
    runs = {fault: Run(checkout, f"vq-{fault}") for fault in FAULTS}
    snakemake = begin(checkout, "faults")
    waiting = [f for f in FAULTS if f != "none"]
    while waiting:
        assert snakemake.poll() is None, (checkout.folder / "snakemake.log").read_text()[-3000:]
        for fault in [f for f in waiting if runs[f].trains()]:
            job = runs[fault].job()
            if job:
                strike(runs[fault], fault, *job)
                waiting.remove(fault)
        release_held()
        time.sleep(0.3)

    def ended():
        release_held()
        return snakemake.poll() is not None

    until(ended)
    assert snakemake.wait() == 0, (checkout.folder / "snakemake.log").read_text()[-3000:]
    whole = runs["none"].results()
    for fault, run in runs.items():
        assert run.results() == whole, fault
        assert ("goes on from" in run.said()) or fault == "none", fault
    table = (checkout.folder / "results/faults/tables/faults.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    for metric in ("rfid", "psnr"):
        assert len({row["ours"] for row in rows if row["metric"] == metric}) == 1
    assert {row["row"] for row in rows} == set(FAULTS)


def test_a_killed_snakemake_leaves_its_job_and_the_next_one_waits_for_it(checkout):
    """No two trainers ever write one folder."""
    run = Run(checkout, "vq-orphan")
    target = "results/faults/tokenizer/vq-orphan/400k/weights.safetensors"
    first = begin(checkout, target)
    until(run.trains)
    os.kill(run.pid, signal.SIGSTOP)  # still at work when the next copy comes
    trainer = run.pid
    first.kill()
    first.wait()
    status, said = checkout.run(*command(target, "--unlock"))
    assert status == 0, said
    second = begin(checkout, target)
    until(lambda: "waits for process" in run.said())
    assert run.pid == trainer  # the lock is still the first one's
    os.kill(trainer, signal.SIGCONT)
    assert second.wait(PATIENCE) == 0, (checkout.folder / "snakemake.log").read_text()[-3000:]
    assert run.results() == Run(checkout, "vq-none").results()


def test_two_nodes_of_two_processes_have_the_losses_of_one(checkout):
    study = checkout.folder / "config/studies/faults.yaml"
    settings = yaml.safe_load(study.read_text())
    settings["milestones"]["tokenizer"] = {"400k": 20}  # ten of them are compared
    settings["jobs"] = {"train_tokenizer": {"nodes": 2, "processes": 2, "cpus": 2, "mem_gb": 4}}
    study.write_text(yaml.safe_dump(settings, sort_keys=False))
    run, whole = Run(checkout, "vq-nodes"), Run(checkout, "vq-none")
    snakemake = begin(checkout, "results/faults/tokenizer/vq-nodes/400k/weights.safetensors")
    assert snakemake.wait(PATIENCE) == 0, (checkout.folder / "snakemake.log").read_text()[-3000:]
    record = json.loads((run.folder / "400k/run.json").read_text())
    assert record["processes"] == 4
    found, expected = (
        list(csv.DictReader((r.folder / "400k/curves.csv").open())) for r in (run, whole)
    )
    for mine, theirs in zip(found[:10], expected[:10], strict=True):
        for name in ("total", "l1", "codebook", "disc"):
            assert float(mine[name]) == pytest.approx(float(theirs[name]), rel=1e-4), name


LONG = """\
#!/bin/sh
# the first attempt has little of its minute left, the second all of it
[ -e begun ] || {{ touch begun; sleep 40; }}
exec {python} -m gear.launch -- gear.tokenizer.train --job '{job}' --name long \
    --output long/400k --data {data}
"""


def test_a_job_goes_on_in_the_next_before_its_time_is_over(checkout):
    job = json.loads(jobs.training(Study("smoke"), "vq", "400k"))
    job["stop"] = 1500
    data = checkout.folder / "data/digits-smoke/manifest.json"
    assert checkout.snakemake("data/digits-smoke/manifest.json")[0] == 0
    script = checkout.folder / "long.sh"
    script.write_text(LONG.format(python=sys.executable, job=json.dumps(job), data=data))
    options = ["--parsable", "-t", "1", "-o", "long.txt", "-D", checkout.folder]
    number = slurm("sbatch", *options, script).strip()
    weights = checkout.folder / "long/400k/weights.safetensors"
    until(weights.exists, 2 * PATIENCE)
    said = [p.read_text() for p in sorted((checkout.folder / "long/log").glob("*.txt"))]
    # two attempts on a quiet host; a busy one may need more
    assert len(said) > 1 and all("the state is saved" in text for text in said[:-1])
    assert all("goes on from" in text for text in said[1:]) and "goes on from" not in said[0]
    state = slurm("scontrol", "show", "job", number)
    assert f"Requeue=1 Restarts={len(said) - 1} " in state
