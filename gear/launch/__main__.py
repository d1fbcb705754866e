"""Start a training module: here, on all GPUs of a node, or on several nodes of a SLURM job.

In a SLURM job the trainer saves and stops before the job's time is up; the job then puts itself
back into the queue and goes on from there, under the same number and without costing Snakemake a
retry. What an attempt says is kept in `<run>/log/<step>.<n>.txt`; Snakemake wipes its own log.

python -m gear.launch [--nodes N] [--processes P] [--cpus C] [--gpus G] -- MODULE [ARGUMENT ...]
"""

import argparse
import datetime
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from gear.files.mistakes import Mistake
from gear.launch import warm as start
from gear.runtime.job import deadline

SHUTDOWN = 600  # seconds that torchrun leaves the trainers to save
BEGIN = 600  # seconds in which SLURM ends a job that has asked to be queued again


def visible_gpus():
    """GPUs of this node that the job may use, at least 1 for the process that counts them."""
    import torch

    return max(1, torch.cuda.device_count())


def command(args, job):
    """The command line of the module; `job`: number of the SLURM job, or None."""
    processes = args.processes or visible_gpus()
    if args.nodes * processes == 1:
        return [sys.executable, "-m", "gear.launch.warm", *args.module]
    run = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    run += [f"--shutdown-timeout={SHUTDOWN}"]
    if args.nodes == 1:
        return [*run, "--standalone", "-m", *args.module]
    if job is None:
        raise Mistake(
            f"the study asks for {args.nodes} nodes, which only a SLURM job has; use --profile "
            "slurm, or set `nodes: 1` under `jobs` in the study's file."
        )
    # Snakemake takes the geometry out of the job's environment, so it is spelled out
    spread = ["srun", f"--nodes={args.nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    spread += [f"--cpus-per-task={args.cpus}"] if args.cpus else []
    spread += [f"--gpus-per-node={args.gpus}"] if args.gpus else []
    meet = f"{socket.gethostname()}:{20000 + int(job) % 20000}"
    run += [f"--nnodes={args.nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={meet}"]
    return [*spread, *run, f"--rdzv-id={job}", "-m", *args.module]


def end_of(job):
    """When a SLURM job's time is up, in seconds since 1970; None where SLURM does not say."""
    done = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True)
    found = re.search(r" EndTime=(\d{4}-\S+)", done.stdout)
    return datetime.datetime.fromisoformat(found[1]).timestamp() if found else None


def attempt_log(arguments):
    """A file for what this attempt says, beside those of the attempts before."""
    output = Path(arguments[arguments.index("--output") + 1])
    folder = output.parent / "log"
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + len(list(folder.glob(f"{output.name}.*.txt")))
    return open(folder / f"{output.name}.{number}.txt", "ab")


def run(command, log, environment):
    """The exit status of a command; what it prints goes to our output and into `log`."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    ends = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda n, _: child.send_signal(n)) for number in ends]
    while text := child.stdout.read1():
        for stream in (sys.stdout.buffer, log):
            stream.write(text)
            stream.flush()
    for number, handler in zip(ends, before, strict=True):
        signal.signal(number, handler)
    return child.wait()


def requeue(job):
    """Put the job back into the queue and wait for SLURM to end this attempt."""
    print(f"job {job} goes back into the queue, to go on from its state", flush=True)
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        print(f"scontrol requeue {job}: {done.stderr.strip()}", file=sys.stderr)
        return
    time.sleep(BEGIN)


def main():
    parser = argparse.ArgumentParser(description="Start a training module.")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="of a node; 0: one for each GPU")
    parser.add_argument("--cpus", type=int, default=0, help="of a node, for srun")
    parser.add_argument("--gpus", type=int, default=0, help="of a node, for srun")
    parser.add_argument("module", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    args.module = args.module[args.module[0] == "--" :]
    job = os.environ.get("SLURM_JOB_ID")
    if job is None and args.nodes == args.processes == 1:
        sys.argv[1:] = args.module
        return start.main()
    environment = dict(os.environ)
    end = end_of(job) if job else None
    if end:
        environment["SLURM_JOB_END_TIME"] = os.environ["SLURM_JOB_END_TIME"] = str(end)
    must_stop = deadline()
    try:
        line = command(args, job)
    except Mistake as error:
        raise SystemExit(f"gear.launch: {error}") from None
    with attempt_log(args.module) as log:
        status = run(line, log, environment)
    if status and job and time.time() >= must_stop:
        requeue(job)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
