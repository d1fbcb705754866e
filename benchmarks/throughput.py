"""TFLOP/s that this device sustains in a study, as lines of config/devices.yaml.

    python benchmarks/throughput.py --study paper --name h100 --batch 32
    python benchmarks/throughput.py --study paper --stage t2i --batch 1 --layers 6

A training step of each stage with the study's settings, and drawing; images are random, the teacher
is one random matrix, LPIPS is left out (it needs a file of weights). Captions are random features
that fill all slots. FLOPs are those that `gear plan` counts, without teacher and text encoder. One
step is not counted, then the median of --steps; on a CPU it is one core's CPU seconds. --layers is
for a device that cannot hold the largest network: every block does the same work.
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
from gear.data.shards import CaptionBatch
from gear.plan.costs import cost, networks_of
from gear.runtime.device import setup, use
from gear.sampling.generate import Drawer, Sampler
from gear.study.registry import Study
from gear.study.stages import STAGES
from gear.t2i.transformer import Text

RUNS = {"tokenizer": "vq", "joint": "gear-l", "ar": "gear-l-frozen", "t2i": "gear-t2i"}


class Teacher(nn.Module):
    """(B, C, H, W) -> (B, N, width), of patches of `patch` pixels."""

    def __init__(self, channels=3, patch=16, width=768):
        super().__init__()
        self.patch, self.width = patch, width
        self.register_buffer("matrix", torch.randn(channels, width))

    def forward(self, x):
        return F.avg_pool2d(x, self.patch).flatten(2).transpose(1, 2) @ self.matrix


class TextEncoder:
    """n captions -> Text that fills all slots, of random features."""

    def __init__(self, text, device):
        self.features_PC = torch.randn(text.slots, text.width, device=device)

    def __call__(self, captions):
        features_BPC = self.features_PC.expand(len(captions), -1, -1)
        return Text(features_BPC, torch.ones_like(features_BPC[..., 0], dtype=torch.bool))


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


def batch_of(settings, count, device):
    """A batch of random images, with their labels or captions, on a device."""
    data = settings.data
    shape = (count, data.channels, data.resolution, data.resolution)
    images, numbers = torch.rand(shape, device=device) * 2 - 1, np.arange(count)
    if settings.reads_text:
        return CaptionBatch(images, ("a caption",) * count, numbers, np.zeros(count, int))
    return Batch(images, torch.arange(count, device=device) % data.classes, numbers, 0)


def train(study, stage, batch, steps, layers=0):
    """TFLOP/s of one stage's steps. layers: of the AR; 0: as the study has them."""
    run = study.runs[RUNS[stage]]
    changes = {"optim.batch": batch, "loss.lpips": 0.0, "runtime.threads": 1}
    if layers:
        changes |= {"ar.layers": layers, "align.layer": max(1, round(layers / 3))}
    settings = config.build(config.difference(run.settings) | changes)
    setup(settings)
    found = cost(type(run)(**vars(run) | {"settings": settings}), study)
    networks = networks_of(run, study)
    width = networks["teacher"].width if "teacher" in networks else 0
    teacher = Teacher(settings.data.channels, settings.tokenizer.downsampling, width)
    encoder = TextEncoder(settings.text, use())
    trainer = STAGES[stage].trainer(settings, teacher=teacher, encoder=encoder)
    trainer.tune()
    given = batch_of(settings, batch, use())
    seconds = median_seconds(lambda number: trainer.step(given, number), steps)
    others = sum(found["parts"].get(part, 0) for part in ("teacher", "text"))
    flops = found["flops_per_image"] - others
    return flops * batch / seconds / 1e12, trainer


def drawing(study, trainer, batch):
    """TFLOP/s of drawing with the AR of a trainer."""
    run = study.runs[RUNS["ar"]]
    labels = torch.arange(batch, device=use()) % run.settings.data.classes
    sampler = Sampler(images=batch)
    ar = trainer.modules["ar"].eval()
    prefix = ar.condition(labels)
    drawer = Drawer(ar, sampler)
    seconds = median_seconds(lambda _: drawer(prefix, np.arange(batch)), 1)
    return networks_of(run, study)["ar"].flops["ar"] * batch / seconds / 1e12


def main():
    parser = argparse.ArgumentParser(description="Measure a device for `gear plan --device`.")
    parser.add_argument("--study", required=True)
    parser.add_argument("--name", default="cpu-core", help="what --device is to say")
    parser.add_argument("--batch", type=int, default=0, help="of this device; default: the study's")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--stage", choices=RUNS, help="this one alone, without drawing")
    parser.add_argument("--layers", type=int, default=0, help="of the AR; default: the study's")
    args = parser.parse_args()
    study, rates = Study(args.study), {}
    for stage in [args.stage] if args.stage else [name for name in RUNS if name in study.stages]:
        batch = args.batch or study.runs[RUNS[stage]].settings.optim.batch
        rates[stage], trainer = train(study, stage, batch, args.steps, args.layers)
        if stage == "ar" and not args.stage:  # drawing one by one is no measure
            rates["draw"] = drawing(study, trainer, max(batch, 8))
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
