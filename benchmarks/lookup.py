"""CPU ms of a demo step with and without data.lookup: python benchmarks/lookup.py

The demo's images and shapes, one thread, the two settings in turns. Teacher and tokenizer are
hardly trained, which changes no cost. The metrics of the last step are compared bit by bit.
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from itertools import pairwise

import demo
import torch

from gear.alignment.teachers.load import load_teacher
from gear.data.memory import to_float
from gear.data.sets import training_set
from gear.runtime.device import setup
from gear.study.registry import Study
from gear.study.stages import STAGES

RUNS = {"ar": "llamagen-repa-l", "joint": "gear-l"}


def measure(stage, settings, steps):
    """(CPU ms of a step, CPU ms of looked_up, {metric: value} of the last step)."""
    setup(settings)
    data, teacher = training_set(settings, None), load_teacher("teacher", settings.data)
    trainer = STAGES[stage].trainer(settings, tokenizer="tokenizer", teacher=teacher)
    times = [time.process_time()]
    if stage == "ar":
        trainer.look_up(data, "tokenizer", "teacher")
    else:
        trainer.ar_update.look_up(data, "teacher")
    times.append(time.process_time())
    for number in range(5):  # buffers, caches
        trainer.step(data.batch(number), number)
    times.append(time.process_time())
    for number in range(5, 5 + steps):
        metrics = trainer.step(data.batch(number), number)
    times.append(time.process_time())
    spent = [1000 * (b - a) for a, b in pairwise(times)]
    return spent[2] / steps, spent[0], {name: value.item() for name, value in metrics.items()}


def one_by_one(settings):
    """(largest difference, mean size) of 256 images' features made one by one or in batches."""
    images = to_float(training_set(settings, None).images[:256])
    teacher = load_teacher("teacher", settings.data)
    whole = torch.cat([teacher(part) for part in images.split(settings.optim.batch)])
    single = torch.cat([teacher(part) for part in images.split(1)])
    return (whole - single).abs().max().item(), whole.abs().mean().item()


def main():
    parser = argparse.ArgumentParser(description="Measure what data.lookup saves.")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    study = Study("demo")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        demo.images_and_teacher(study)
        demo.tokenizer(study)
        print("| stage | lookup | CPU ms a step | its start, first and later |")
        print("| --- | --- | ---: | ---: |")
        equal = {}
        for stage, run in RUNS.items():
            plain = study.runs[run].settings
            kept = dataclasses.replace(plain, data=dataclasses.replace(plain.data, lookup=True))
            pair = (plain, kept)
            turns = [[measure(stage, s, args.steps) for s in pair] for _ in range(args.rounds)]
            for name, found in zip(("false", "true"), zip(*turns, strict=True), strict=True):
                steps, starts, _ = zip(*found, strict=True)
                start = f"{starts[0]:.0f}, {statistics.median(starts[1:] or starts):.0f}"
                print(f"| {stage} | {name} | {statistics.median(steps):.1f} | {start} |")
            equal[stage] = all(a[2] == b[2] for a, b in turns)
        print(f"\nare the metrics of the last step equal? {equal}")
        largest, mean = one_by_one(plain)
        print(f"one image at a time: features differ by up to {largest:.2g}, mean size {mean:.2g}")
        print("load", *(round(x, 1) for x in os.getloadavg()))


if __name__ == "__main__":
    main()
