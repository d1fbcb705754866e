"""Start a training module: in this process, on all GPUs of a node, or on several SLURM nodes.

In a SLURM job the trainer saves and stops before the job's time limit. The job then requeues itself
and continues from its state, with the same job number, and Snakemake counts no retry. The output of
each attempt is kept in `<run>/log/<step>.<n>.txt`, because Snakemake overwrites its own log.

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

SHUTDOWN = 600  # seconds that torchrun gives the trainers to save
BEGIN = 600  # seconds within which SLURM ends a job that has requeued itself


def visible_gpus():
    """The number of GPUs of this node that the job may use, at least 1."""
    import torch

    return max(1, torch.cuda.device_count())


def command(args, job):
    """The command line of the module; job: number of the SLURM job, or None.

    Mistake: several nodes without a SLURM job."""
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
    # Snakemake removes the numbers of tasks and nodes from the job's environment, so we pass them
    spread = ["srun", f"--nodes={args.nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    spread += [f"--cpus-per-task={args.cpus}"] if args.cpus else []
    spread += [f"--gpus-per-node={args.gpus}"] if args.gpus else []
    endpoint = f"{socket.gethostname()}:{20000 + int(job) % 20000}"
    run += [f"--nnodes={args.nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}"]
    return [*spread, *run, f"--rdzv-id={job}", "-m", *args.module]


def end_of(job):
    """The end of a SLURM job's time, in seconds since 1970; None if SLURM does not say."""
    result = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True)
    end = re.search(r" EndTime=(\d{4}-\S+)", result.stdout)
    return datetime.datetime.fromisoformat(end[1]).timestamp() if end else None


def attempt_log(arguments):
    """An open log file for the output of this attempt; earlier attempts keep theirs."""
    output = Path(arguments[arguments.index("--output") + 1])
    folder = output.parent / "log"
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + len(list(folder.glob(f"{output.name}.*.txt")))
    return open(folder / f"{output.name}.{number}.txt", "ab")


def run(command, log, environment):
    """The exit status of a command. Its output goes to our standard output and into `log`."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    forwarded = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda n, _: child.send_signal(n)) for number in forwarded]
    while text := child.stdout.read1():
        for stream in (sys.stdout.buffer, log):
            stream.write(text)
            stream.flush()
    for number, handler in zip(forwarded, before, strict=True):
        signal.signal(number, handler)
    return child.wait()


def requeue(job):
    """Requeue the job and wait until SLURM ends this attempt."""
    print(f"job {job} goes back into the queue, to go on from its state", flush=True)
    result = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if result.returncode:
        print(f"scontrol requeue {job}: {result.stderr.strip()}", file=sys.stderr)
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
    from gear.runtime.job import deadline  # its settings take longer than a local client's work

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
