"""Two or more ways of one piece of work, beside each other: time and memory.

A benchmark defines its ways and calls `run`. Every way runs in processes of its own, and the ways
alternate. A process does the work once in small, then `--repeats` times. Seconds are CPU-seconds of
one thread on a CPU, and the time of the work on a GPU. MiB added are what the work adds to the
process, or to the GPU, at its peak: inputs and libraries do not count, outputs and gradients do.
Peak MiB are all that the process, or the GPU, holds then.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch


def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name():
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "one CPU core"


def clock():
    """Seconds, of the GPU's work too."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _status(name):
    """MiB of a line of /proc/self/status."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) / 1024


class Peak:
    """The most memory within the block: after it, `mib` above that at its start; all, `peak`."""

    def __enter__(self):
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            self.start = torch.cuda.memory_allocated() / 2**20
        else:
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            self.start = _status("VmRSS")
        return self

    def __exit__(self, *_):
        gpu = torch.cuda.is_available()
        self.peak = torch.cuda.max_memory_allocated() / 2**20 if gpu else _status("VmHWM")
        self.mib = self.peak - self.start


def measured(work, repeats):
    """{'seconds': median of a call, 'mib' and 'peak': of the first call}."""
    seconds, memory = [], []
    for _ in range(repeats):
        with Peak() as peak:
            began = clock()
            work()
            seconds.append(clock() - began)
        memory.append({"mib": peak.mib, "peak": peak.peak})
    return {"seconds": statistics.median(seconds), **memory[0]}


def alternate(script, ways, options, rounds, code=None):
    """{way: [what its process printed, of each round]}.

    code: {way: folder}, where a way's gear is not the one here."""
    found = {way: [] for way in ways}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for _ in range(rounds):
        for way in ways:
            command = [sys.executable, script, "--child", json.dumps({"way": way, **options})]
            own = environment | ({"PYTHONPATH": str(code[way])} if code else {})
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=own)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def report(found, first):
    """Print a table of all ways, then one line of JSON: the ratios to the way `first`."""
    print(f"{device_name()}, torch {torch.__version__}, {len(found[first])} rounds\n")
    print("| way | seconds | lowest to highest | MiB added | peak MiB |")
    print("| --- | ---: | --- | ---: | ---: |")
    medians = {}
    for way, rows in found.items():
        seconds = [row["seconds"] for row in rows]
        medians[way] = {k: statistics.median(row[k] for row in rows) for k in rows[0]}
        span = f"{min(seconds):.2f} to {max(seconds):.2f}"
        numbers = f"{medians[way]['mib']:.0f} | {medians[way]['peak']:.0f}"
        print(f"| {way} | {medians[way]['seconds']:.2f} | {span} | {numbers} |")
    pairs = list(zip(*found.values(), strict=True))
    names, line = list(found), {"device": device_name(), "torch": torch.__version__}
    for place, way in enumerate(names):
        if way != first:
            ratios = [p[place]["seconds"] / p[names.index(first)]["seconds"] for p in pairs]
            line[way] = {
                "seconds": round(statistics.median(ratios), 3),
                "mib": round(medians[way]["mib"], 1),
                "mib_of_first": round(medians[first]["mib"], 1),
                "peak": round(medians[way]["peak"] / medians[first]["peak"], 3),
            }
    print(json.dumps(line))


def run(script, description, ways, options, first):
    """The command of a benchmark.

    ways: {name: function(options) -> a function of no arguments that does the work once}. options:
    {name: default}, numbers that `--name` changes. first: the way that the others are compared
    with."""
    parser = argparse.ArgumentParser(description=description)
    for name, default in options.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        given = args.child
        ways[given["way"]]({**given, "rows": 64})()  # libraries and kernels are loaded
        print(json.dumps(measured(ways[given["way"]](given), given["repeats"])))
        return
    chosen = {name: getattr(args, name) for name in options} | {"repeats": args.repeats}
    report(alternate(script, ways, chosen, args.rounds), first)
