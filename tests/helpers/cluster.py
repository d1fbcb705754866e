"""A SLURM cluster on this host alone: one slurmctld, several slurmd, pretended GPUs.

    python tests/helpers/cluster.py start FOLDER [--nodes 3]
    python tests/helpers/cluster.py stop FOLDER

Needs root and Debian's or Ubuntu's slurmctld, slurmd and slurm-client; no systemd, munge or
accounting. Its configuration is linked to /etc/slurm/slurm.conf, where Snakemake's plugin finds it
too, and only if there is none. The daemons are stopped by the pid files that they wrote.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

CONFIG = Path("/etc/slurm/slurm.conf")
CPUS, GPUS, MEMORY = 4, 2, 8000  # of a node; a host with fewer of them pretends

SLURM = """\
ClusterName=sandbox
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
# also how long a requeued job waits; 120 by default
AuthInfo=cred_expire=20
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MinJobAge=300
JobRequeue=1
FirstJobId={first}
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_interval=5,batch_sched_delay=0
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/%n.spool
{nodes}
PartitionName=batch Nodes=ALL Default=YES PriorityTier=1 MaxTime=INFINITE State=UP
PartitionName=urgent Nodes=ALL PriorityTier=100 MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
    "RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN"
)


def configure(folder, nodes):
    """Write slurm.conf and gres.conf, and link the first to where SLURM looks."""
    if CONFIG.exists() and not CONFIG.is_symlink():
        raise SystemExit(f"{CONFIG} is there: this host has a SLURM of its own; use another host.")
    if CONFIG.is_symlink() and _runs(CONFIG.readlink().parent / "slurmctld.pid"):
        raise SystemExit(f"a sandbox runs already in {CONFIG.readlink().parent}; stop it first.")
    host = socket.gethostname().split(".")[0]
    lines = [
        NODE.format(number=n, host=host, port=17000 + n, cpus=CPUS, memory=MEMORY, gpus=GPUS)
        for n in range(1, nodes + 1)
    ]
    for name in ("state", *(f"n{n}.spool" for n in range(1, nodes + 1))):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # no number of a sandbox before, whose last steps may still report to this port
    first = 1 + int(time.time()) % 60_000
    text = SLURM.format(host=host, folder=folder, nodes="\n".join(lines), first=first)
    (folder / "slurm.conf").write_text(text)
    # any character device passes for a GPU
    (folder / "gres.conf").write_text(f"NodeName=n[1-{nodes}] Name=gpu File=/dev/tty[1-{GPUS}]\n")
    CONFIG.parent.mkdir(parents=True, exist_ok=True)
    for name in ("slurm.conf", "gres.conf"):
        link = CONFIG.with_name(name)
        link.unlink(missing_ok=True)
        link.symlink_to(folder / name)


def _runs(pid_file):
    """Whether the file's process is a SLURM daemon: a killed test or a reboot leaves the file."""
    try:
        return Path(f"/proc/{pid_file.read_text().strip()}/comm").read_text().startswith("slurm")
    except OSError:
        return False


def start(folder, nodes=3, patience=30):
    """Start the daemons and wait until all nodes are idle."""
    for program in ("slurmctld", "slurmd", "sbatch"):
        if shutil.which(program) is None:
            raise SystemExit(
                f"{program} is not installed; apt install slurmctld slurmd slurm-client."
            )
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    configure(folder, nodes)
    try:
        _start_daemons(nodes, patience)
    except BaseException:
        stop(folder)
        raise


def _start_daemons(nodes, patience):
    subprocess.run(["slurmctld", "-c"], check=True)
    for number in range(1, nodes + 1):
        subprocess.run(["slurmd", "-N", f"n{number}"], check=True)
    end = time.monotonic() + patience
    while time.monotonic() < end:
        done = subprocess.run(["sinfo", "-hN", "-o", "%t"], capture_output=True, text=True)
        if done.stdout.split() and set(done.stdout.split()) == {"idle"}:
            return
        time.sleep(0.2)
    log = (CONFIG.readlink().parent / "slurmctld.log").read_text()[-2000:]
    raise SystemExit(f"the nodes did not come up: {done.stdout}{done.stderr}\n{log}")


def stop(folder):
    """Cancel all jobs, end the daemons by their pid files, and take the links away."""
    folder = Path(folder).resolve()
    if CONFIG.is_symlink() and CONFIG.readlink().parent == folder:
        _cancel_all()
    pids = []
    for file in filter(_runs, folder.glob("*.pid")):
        pids.append(int(file.read_text()))
        os.kill(pids[-1], signal.SIGTERM)
    end = time.monotonic() + 20
    while time.monotonic() < end and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.1)
    for name in ("slurm.conf", "gres.conf"):
        link = CONFIG.with_name(name)
        if link.is_symlink() and link.readlink().parent == folder:
            link.unlink()


def _cancel_all(patience=40):
    subprocess.run(["scancel", "-u", "root"])
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if not subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout.strip():
            return
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(description="A SLURM cluster on this host alone.")
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("folder")
    parser.add_argument("--nodes", type=int, default=3)
    args = parser.parse_args()
    if args.action == "stop":
        return stop(args.folder)
    start(args.folder, args.nodes)
    print(subprocess.run(["sinfo"], capture_output=True, text=True).stdout, end="")


if __name__ == "__main__":
    sys.exit(main())
