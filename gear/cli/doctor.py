"""`gear doctor`: what a study needs that is not here yet, before any job says so.

It looks for files, checks their hashes and asks programs. Each line is ok, missing (with its cure;
the exit status is then 1) or a note.
"""

import shutil
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from gear.artifacts import store
from gear.artifacts.units import require_no_link
from gear.cli.captions import captions
from gear.cli.finding import MISSING, NOTE, OK, Finding
from gear.cli.images import data
from gear.cli.weights import weights
from gear.files.mistakes import Mistake
from gear.launch import slurm
from gear.plan.budget import Budget
from gear.plan.report import entry
from gear.plan.targets import wanted
from gear.study import jobs
from gear.study.configfiles import read_yaml
from gear.study.registry import Study


def disk(study, needed):
    """Room for what the target keeps, beside what exists already."""
    entries = [entry(study.runs[run], last, study) for run, last in needed.runs.items()]
    to_come = sum(Budget(study, entries, needed, {}).disk(left=True).values())
    folder = Path(study.root)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    said = f"{free / 1e9:,.1f} GB are free at {folder}, {to_come / 1e9:,.1f} GB are still to come"
    if free > to_come:
        return Finding(OK, "disk", said)
    cure = "free some, or work in a clone on a larger disk, or name a folder there as results="
    return Finding(MISSING, "disk", f"{said}; {cure}.")


def links(study):
    """A note where the results lie behind a link: `gear artifacts` cannot save them."""
    try:
        require_no_link(study.root)
    except Mistake as error:
        yield Finding(NOTE, "disk", f"gear artifacts cannot save these results: {error}")


def remote():
    """Where `gear artifacts push` and `pull` go."""
    url = store.remote()
    if not url:
        return Finding(NOTE, "remote", "none is set: gear artifacts remote URL, where you want one")
    try:
        store.require_remote(url)
    except Mistake as error:
        return Finding(NOTE, "remote", str(error))
    return Finding(OK, "remote", url)


def cluster(study):
    """Whether the cluster can run the study's jobs and say when they end."""
    profile = read_yaml(slurm.PROFILE)
    needs = [_need(study, rule, profile) for rule in jobs.rules(study)]
    state = MISSING if "jobs" in study.spec else NOTE  # a study that does without a cluster
    try:
        site = slurm.ask()
    except Mistake as error:  # one machine with enough GPUs does without
        said = str(error)
        if state == NOTE:
            said = f"{said.partition(';')[0].partition(' (')[0]}; a run on this machine needs none"
        return [Finding(NOTE, "SLURM", said)]
    wait = profile.get("slurm-init-seconds-before-status-checks", 40)
    status_command = profile.get("slurm-status-command", "sacct")
    problems = list(site.problems(needs, status_command, wait))
    if problems:
        return [Finding(state, "SLURM", said) for said in problems]
    default = site.default or "none"
    said = f"{len(site.partitions)} partitions, default {default}; each rule's jobs find nodes"
    accounts = "accounting by slurmdbd" if site.accounting else "no accounting"
    return [Finding(OK, "SLURM", f"{said}; {accounts}, {status_command} is asked")]


def _need(study, rule, profile):
    """What the profile and the study ask for the jobs of a rule."""
    resources = (profile.get("default-resources") or {}) | jobs.needs(study, rule)
    own = (profile.get("set-resources") or {}).get(rule) or {}
    return slurm.Need.of(rule, resources | own)


def device():
    """What trains here. torch is only loaded where the driver of a GPU is."""
    if Path("/proc/driver/nvidia").exists() or Path("/dev/kfd").exists():
        import torch

        if torch.cuda.is_available():
            name, count = torch.cuda.get_device_name(), torch.cuda.device_count()
            return Finding(OK, "device", f"{count} x {name}, torch {torch.__version__}")
    return Finding(NOTE, "device", f"no GPU here, torch {version('torch')} runs on the CPU")


def metrics():
    """Scores of images that the repository makes, on each feature network that is here."""
    from gear.evaluation.known import FORMULA, all_scored

    for found in all_scored():
        if isinstance(found, Mistake):
            yield Finding(MISSING, "metrics", str(found))
            continue
        what = (
            "weights made by a formula" if found.weights == FORMULA else f"sha256 {found.weights}"
        )
        values = ", ".join(f"{name} {value:.5g}" for name, value in found.values.items())
        said = f"{found.protocol} on {what}: {values}"
        if found.known is None:
            yield Finding(NOTE, "metrics", f"{said}; no number of these weights is known")
        elif found.agrees:
            yield Finding(OK, "metrics", f"{said}, as committed")
        else:
            known = ", ".join(f"{name} {value:.5g}" for name, value in found.known.items())
            cure = "compare torch and numpy with envs/requirements.lock, and run make env"
            yield Finding(MISSING, "metrics", f"{said}, but committed is {known}; {cure}.")


def findings(study, target):
    """Every Finding about a study's target, in the order in which the work meets them."""
    needed = wanted(study, target)
    yield device()
    yield from _kept("data", data(study, target))
    yield from _kept("weights", weights(study, needed))
    yield from _kept("captions", captions(study, needed))
    yield from _kept("disk", (disk(study, needed) for _ in "1"))
    yield from links(study)
    yield remote()
    yield from cluster(study)


def _kept(subject, found):
    """The findings; a Mistake is one of them, so that the list goes on."""
    try:
        yield from found
    except Mistake as error:
        yield Finding(MISSING, subject, str(error))


def main(name, results="results", target="all", with_metrics=False):
    """Print the findings as they come; returns 1 where something is missing.

    with_metrics: also score images that the repository makes."""
    if not Path(slurm.PROFILE).is_file():
        raise Mistake("gear doctor works in the repository's top folder; go there first.")
    study = Study(name, results)
    print(f"target {target} of study {study.name}: {study.spec['title']}", flush=True)
    missing = 0
    for finding in chain(findings(study, target), metrics() if with_metrics else ()):
        print(finding, flush=True)
        missing += finding.state == MISSING
    print(f"{missing} missing" if missing else "nothing is missing")
    return int(missing > 0)
