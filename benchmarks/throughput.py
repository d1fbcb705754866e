"""TFLOP/s that this device sustains in a study, as lines of config/devices.yaml.

    python benchmarks/throughput.py --study paper --name h100 --batch 32

A training step of each stage with the study's settings, and drawing; images are random, the teacher
is one random matrix, LPIPS is left out (it needs a file of weights). FLOPs are those that `gear
plan` counts. One step is not counted, then the median of --steps; on a CPU it is one core's CPU
seconds.
"""

import argparse
import datetime
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gear import config
from gear.data.memory import Batch
from gear.plan.costs import cost, networks_of
from gear.runtime.device import setup, use
from gear.sampling.generate import Sampler, draw
from gear.study.registry import Study
from gear.study.stages import STAGES

RUNS = {"tokenizer": "vq", "joint": "gear-l", "ar": "gear-l-frozen"}


class Teacher(nn.Module):
    """(B, C, H, W) -> (B, N, width), of patches of `patch` pixels."""

    def __init__(self, channels=3, patch=16, width=768):
        super().__init__()
        self.patch, self.width = patch, width
        self.register_buffer("matrix", torch.randn(channels, width))

    def forward(self, x):
        return F.avg_pool2d(x, self.patch).flatten(2).transpose(1, 2) @ self.matrix


def clock():
    """Seconds, of the GPU's work too."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def median_seconds(function, count):
    """Of `count` calls after one that is not counted; each gets its number."""
    seconds = []
    for number in range(count + 1):
        began = clock()
        function(number)
        seconds.append(clock() - began)
    return statistics.median(seconds[1:])


def train(study, stage, batch, steps):
    """TFLOP/s of one stage's steps."""
    run = study.runs[RUNS[stage]]
    changes = {"optim.batch": batch, "loss.lpips": 0.0, "runtime.threads": 1}
    settings = config.build(config.difference(run.settings) | changes)
    setup(settings)
    found = cost(type(run)(**vars(run) | {"settings": settings}), study)
    networks = networks_of(run, study)
    width = networks["teacher"].width if "teacher" in networks else 0
    teacher = Teacher(settings.data.channels, settings.tokenizer.downsampling, width)
    trainer = STAGES[stage].trainer(settings, teacher=teacher)
    trainer.tune()
    data, device = settings.data, use()
    shape = (batch, data.channels, data.resolution, data.resolution)
    images = torch.rand(shape, device=device) * 2 - 1
    labels = torch.arange(batch, device=device) % data.classes
    given = Batch(images, labels, np.arange(batch), 0)
    seconds = median_seconds(lambda number: trainer.step(given, number), steps)
    flops = found["flops_per_image"] - found["parts"].get("teacher", 0)
    return flops * batch / seconds / 1e12, trainer


def drawing(study, trainer, batch):
    """TFLOP/s of drawing with the AR of a trainer."""
    run = study.runs[RUNS["ar"]]
    labels = torch.arange(batch, device=use()) % run.settings.data.classes
    sampler = Sampler(images=batch)
    ar = trainer.modules["ar"].eval()
    prefix = ar.condition(labels)
    seconds = median_seconds(lambda _: draw(ar, prefix, np.arange(batch), sampler), 1)
    return networks_of(run, study)["ar"].flops["ar"] * batch / seconds / 1e12


def main():
    parser = argparse.ArgumentParser(description="Measure a device for `gear plan --device`.")
    parser.add_argument("--study", required=True)
    parser.add_argument("--name", default="cpu-core", help="what --device is to say")
    parser.add_argument("--batch", type=int, default=0, help="of this device; default: the study's")
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    study, rates = Study(args.study), {}
    for stage, run in RUNS.items():
        batch = args.batch or study.runs[run].settings.optim.batch
        rates[stage], trainer = train(study, stage, batch, args.steps)
    rates["draw"] = drawing(study, trainer, max(batch, 8))  # drawing one by one is no measure
    gpu = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if gpu else "one CPU core"
    shown = ", ".join(f"{key}: {rate:.3g}" for key, rate in rates.items())
    batch = args.batch or "the study's"
    print(f"{args.name}:")
    print(f"  label: {name}")
    print(f"  measured: '{datetime.date.today()}, torch {torch.__version__}, batch {batch}'")
    print(f"  tflops:\n    {args.study}: {{{shown}}}")


if __name__ == "__main__":
    main()
