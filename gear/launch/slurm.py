"""Checks, before the first job, for jobs that a SLURM cluster would queue and never run.

It imports only the standard library, because Snakemake imports it.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field

from gear.files.mistakes import Mistake, did_you_mean

PROFILE = "workflow/profiles/slurm/config.yaml"
ASK = 60  # seconds to wait for the answer of a busy controller
CHECKS = 3  # where MinJobAge is below this many waits, Snakemake asks sacct in any case
PROGRAMS = ("sinfo", "scontrol", "sbatch", "squeue", "scancel")  # what a login node needs
LOCAL = "or without a cluster: --workflow-profile workflow/profiles/local."


TIME = r"infinite|unlimited|(\d+-)?\d+(:\d+){0,2}"
LINE = re.compile(rf"(?i)[^|]+\|({TIME})\|\d+\+?\|\d+\+?\|\d+\+?\|[^|]*")  # of sinfo, see ask


@dataclass(frozen=True)
class Nodes:
    """Equal nodes of one partition, and the time limit of a job there."""

    count: int
    cpus: int
    mem_mb: int
    gpus: int
    runtime: float  # minutes, may be infinite

    def lack(self, need):
        """{resource: (requested, available)} where these nodes have less than `need` requests."""
        names = ("gpus", "cpus", "mem_mb", "runtime")
        pairs = {name: (getattr(need, name), getattr(self, name)) for name in names}
        return {name: (asked, had) for name, (asked, had) in pairs.items() if asked > had}


@dataclass(frozen=True)
class Need:
    """The request of one rule's jobs, in numbers for one node; runtime in minutes."""

    rule: str
    partition: str | None = None
    account: str | None = None
    nodes: int = 1
    cpus: int = 1
    mem_mb: int = 0
    gpus: int = 0
    runtime: int = 0

    @classmethod
    def of(cls, rule, resources):
        """The Need of a job's resources, as the rules and the profile name them."""
        needs = {
            "partition": resources.get("slurm_partition"),
            "account": resources.get("slurm_account"),
            "cpus": resources.get("cpus_per_task"),
            "gpus": resources.get("gpu") or resources.get("gpus_per_node"),
        }
        needs |= {name: resources.get(name) for name in ("nodes", "mem_mb", "runtime")}
        names = ("partition", "account")
        needs = {k: str(v) if k in names else v for k, v in needs.items() if v is not None}
        # Snakemake has converted a profile's "12h" into a number; other texts are left out
        return cls(rule, **{k: v for k, v in needs.items() if k in names or isinstance(v, int)})


WORDS = {  # resource: its unit in a sentence, and its key in the study's file
    "nodes": ("nodes", "nodes"),
    "gpus": ("GPUs of a node", "gpus"),
    "cpus": ("CPUs of a node", "cpus"),
    "mem_mb": ("MB of a node's memory", "mem_gb"),
    "runtime": ("minutes", "minutes"),
}


@dataclass(frozen=True)
class Cluster:
    partitions: dict = field(default_factory=dict)  # name -> [Nodes]
    default: str | None = None
    accounting: bool = False
    min_job_age: int = 300  # seconds for which squeue still lists a job that has ended

    def problems(self, needs, status_command="squeue", wait=40):
        """Yield a sentence with its cure for each problem.

        A problem keeps a job of `needs` from running, or Snakemake from seeing its end. wait: the
        profile's slurm-init-seconds-before-status-checks."""
        if not self.accounting and status_command == "sacct":
            yield (
                "this cluster keeps no accounting, so that sacct never says that a job has ended; "
                f"set slurm-status-command: squeue in {PROFILE}."
            )
        if not self.accounting and status_command == "squeue" and self.min_job_age < CHECKS * wait:
            yield (
                f"this cluster's MinJobAge of {self.min_job_age} s is too short for a wait of "
                f"{wait} s, so that Snakemake would ask sacct, and there is no accounting; set "
                "slurm-init-seconds-before-status-checks to a third of it or less in "
                f"{PROFILE}, or have MinJobAge raised."
            )
        sentences = dict.fromkeys(map(self._problem, needs))
        yield from filter(None, sentences)

    def _problem(self, need):
        """The sentence for what keeps the jobs of one rule from running, or None."""
        if need.account and not self.accounting:
            return (
                f"{need.rule} asks for account '{need.account}', but this cluster counts no "
                f"accounts; take slurm_account out of {PROFILE}."
            )
        name = need.partition or self.default
        if name is None:
            return (
                "this cluster has no default partition; name one as slurm_partition in "
                f"{PROFILE} ({', '.join(self.partitions)})."
            )
        for part in name.split(","):
            if part not in self.partitions:
                return (
                    f"{need.rule} asks for partition '{part}', which this cluster does not have. "
                    f"{did_you_mean(part, self.partitions)} It is named in {PROFILE}."
                )
        sentences = [self._lack(need, part) for part in name.split(",")]
        return None if None in sentences else sentences[0]

    def _lack(self, need, name):
        """The sentence for what the nodes of one partition have too little of, or None."""
        lacks = [(nodes.lack(need), nodes.count) for nodes in self.partitions[name]]
        fitting = sum(count for lack, count in lacks if not lack)
        if fitting >= need.nodes:
            return None
        closest = min(lacks, key=lambda k: (len(k[0]), *(-had for _, had in k[0].values())))[0]
        closest = {"nodes": (need.nodes, fitting)} if fitting else closest
        what, (asked, had) = next(iter(closest.items()))
        unit, key = WORDS[what]
        return (
            f"{need.rule} asks for {asked} {unit}, but partition '{name}' has {had:.0f}; lower it "
            f"where it is set (`{key}` under jobs.{need.rule} in the study's file, or {PROFILE}), "
            "or name another partition."
        )


def _minutes(text):
    """The minutes of SLURM's [days-]hours:minutes:seconds or minutes:seconds."""
    if text.lower() in ("infinite", "unlimited"):
        return float("inf")
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes = parts[-3] if len(parts) > 2 else 0, parts[-2] if len(parts) > 1 else parts[0]
    return 1440 * int(days or 0) + 60 * hours + minutes


def _seconds(text):
    """The seconds of a setting such as 300; none are known to be too few where it says N/A."""
    return int(text) if text.isdecimal() else 10**9


def _gpus(text):
    """The GPUs of a node's generic resources, such as gpu:a100:4(S:0-1),shard:8."""
    return sum(int(n) for n in re.findall(r"(?:^|,)gpu(?::[^:,(]+)?:(\d+)", text))


def parse(partitions, settings):
    """The Cluster from the output of sinfo and scontrol (see `ask`)."""
    nodes, default = {}, None
    for line in partitions.splitlines():
        if not LINE.fullmatch(line):  # a notice of the site, or a partition without nodes
            continue
        name, limit, count, cpus, memory, gres = line.split("|")
        if name.endswith("*"):
            name = default = name[:-1]
        shape = [int(text.rstrip("+")) for text in (count, cpus, memory)]
        nodes.setdefault(name, []).append(Nodes(*shape, _gpus(gres), _minutes(limit)))
    known = dict(re.findall(r"^(\w+)\s*= (\S*)", settings, re.MULTILINE))
    return Cluster(
        nodes,
        default,
        known.get("AccountingStorageType", "").endswith("slurmdbd"),
        _seconds(known.get("MinJobAge", "300")),
    )


def _answer(*command):
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=ASK)
    except subprocess.TimeoutExpired:
        raise Mistake(f"SLURM did not answer within {ASK} s; try later, {LOCAL}") from None
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Mistake(
            f"SLURM does not answer ({reason}); start on a login node of your cluster, {LOCAL}"
        )
    return result.stdout


def ask():
    """The Cluster of this machine.

    Mistake: SLURM is not installed, not complete, or does not answer."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if len(missing) == len(PROGRAMS):
        raise Mistake(
            "there is no SLURM here (sinfo is not on the PATH); start on a login node of your "
            f"cluster, {LOCAL}"
        )
    if missing:
        raise Mistake(
            f"SLURM is not complete here: {', '.join(missing)} not found on the PATH; install "
            "SLURM's client programs (Debian, Ubuntu: apt install slurm-client) or start on a "
            f"login node of your cluster, {LOCAL}"
        )
    partitions = _answer("sinfo", "-a", "-h", "-e", "--noconvert", "-o", "%P|%l|%D|%c|%m|%G")
    return parse(partitions, _answer("scontrol", "show", "config"))


def require(workflow):
    """End Snakemake with one sentence if SLURM would never run one of its jobs."""
    settings = workflow.executor_settings
    jobs = (job for job in workflow.dag.needrun_jobs() if not job.is_local)
    needs = dict.fromkeys(Need.of(job.rule.name, job.resources) for job in jobs)
    if settings.partition_config or os.environ.get("SNAKEMAKE_SLURM_PARTITIONS"):
        needs = [
            need for need in needs if need.partition
        ]  # the plug-in chooses the partition of the other jobs
    try:
        cluster = ask()
        wait = settings.init_seconds_before_status_checks
        for sentence in cluster.problems(needs, settings.status_command, wait):
            raise Mistake(sentence)
    except Mistake as error:
        raise SystemExit(f"gear: {error}") from None
