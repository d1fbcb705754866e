"""Seconds and memory of a joint step at the paper's size, by setting: python benchmarks/tune.py

GEAR with the AR of size B, VQ-16, 256 x 256 pixels, random images, a teacher that is one random
matrix, no LPIPS (it needs a file of weights). Each setting has a process of its own, one step that
is not counted, then the others; settings take turns. Times are CPU seconds on a CPU, where other
processes disturb them least, and seconds on a GPU.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys

import numpy as np
import torch
from throughput import Teacher, clock

from gear import config
from gear.data.memory import Batch
from gear.runtime.device import setup
from gear.study.registry import Study
from gear.study.stages import STAGES

WAYS = {
    "float32": {"precision": "fp32"},
    "float32, channels_last": {"precision": "fp32", "channels_last": True},
    "float32, recompute": {"precision": "fp32", "recompute": True},
    "bf16": {},
    "bf16, channels_last": {"channels_last": True},
    "bf16, channels_last, recompute": {"channels_last": True, "recompute": True},
}
COMPILED = {"bf16, channels_last, compile": {"channels_last": True, "compile": True}}


def peak():
    """GiB: of the GPU, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def child(runtime, batch, steps):
    """One setting's seconds a step and its peak memory, as JSON."""
    changes = {f"runtime.{k}": v for k, v in runtime.items()}
    changes |= {"optim.batch": batch, "loss.lpips": 0.0, "runtime.threads": 1}
    settings = Study("paper").runs["gear-b"].settings
    settings = config.build(config.difference(settings) | changes)
    setup(settings)
    trainer = STAGES["joint"].trainer(settings, teacher=Teacher())
    trainer.tune()
    images, labels = torch.rand(batch, 3, 256, 256) * 2 - 1, torch.arange(batch)
    seconds = []
    for number in range(steps + 1):
        began = clock()
        trainer.step(Batch(images, labels, np.arange(batch), 0), number)
        seconds.append(clock() - began)
    print(json.dumps({"seconds": statistics.median(seconds[1:]), "peak": peak()}))


def main():
    parser = argparse.ArgumentParser(description="Measure the settings of gear/runtime/tune.py.")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="that too: minutes of compilation")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        return child(args.child, args.batch, args.steps)
    ways = WAYS | (COMPILED if args.compile else {})
    found = {way: [] for way in ways}
    shape = ["--batch", str(args.batch), "--steps", str(args.steps)]
    for _ in range(args.rounds):
        for way, runtime in ways.items():
            command = [sys.executable, __file__, *shape, "--child", json.dumps(runtime)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "one CPU core"
    print(f"batch {args.batch}, {device}\n\n| settings | seconds a step | peak GiB |")
    print("| --- | ---: | ---: |")
    for way, rows in found.items():
        seconds, gib = (statistics.median(r[k] for r in rows) for k in ("seconds", "peak"))
        print(f"| {way} | {seconds:.1f} | {gib:.1f} |")


if __name__ == "__main__":
    main()
