"""What a training step costs beyond forward, backward and optimizer: python benchmarks/engine.py

The demo study's own runs on their own images, one thread, no warm process. Each part is a function
of ours that the step calls; its CPU seconds are taken around the call, and what remains of the
segment is the work itself. CPU seconds, because other processes disturb them least.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import demo
import torch

from gear.alignment.teachers.load import load_teacher
from gear.data.sets import training_set
from gear.runtime import loop, optim, rng
from gear.runtime.device import setup
from gear.study.registry import Study
from gear.study.stages import STAGES
from gear.tokenizer import codebook
from gear.tokenizer import train as tokenizer

WORK = "forward, backward, optimizer"
SAVE = "a training state, every 30 minutes"
END = "a milestone's files"
RUNS = {"tokenizer": "vq", "joint": "gear-l", "ar": "llamagen-repa-l"}


class Clock:
    """CPU seconds by part. A part inside another is its own and not the other's."""

    def __init__(self):
        self.seconds, self.open = defaultdict(float), []

    @contextmanager
    def part(self, name):
        began = time.process_time()
        self.open.append(0.0)
        try:
            yield
        finally:
            took = time.process_time() - began
            inside = self.open.pop()
            self.seconds[name] += took - inside
            if self.open:
                self.open[-1] += took

    def around(self, owner, name, part):
        """A patch of `owner.name` that times it."""
        whole = getattr(owner, name)

        def timed(*arguments, **keywords):
            with self.part(part):
                return whole(*arguments, **keywords)

        return mock.patch.object(owner, name, timed)


def measure(stage, settings, teacher, data, folder, steps):
    """Clock of a segment of `steps`, from random weights."""
    setup(settings)
    trainer = STAGES[stage].trainer(settings, teacher=teacher)
    for number in range(3):  # buffers, caches
        trainer.step(data.batch(number), number)
    segment = loop.Segment(trainer, data, Path(folder) / stage / "end", 0, steps)
    segment.folder.mkdir(parents=True)
    clock = Clock()
    parts = {
        (type(data), "batch"): "data: the batch of a step",
        (optim.EMA, "update"): "averages of the weights (EMA)",
        (tokenizer, "usage_stats"): "codebook statistics",
        (codebook.SoftAssignment, "add"): "codebook statistics",
        (codebook.SoftAssignment, "means"): "codebook statistics",
        (rng, "seed_torch"): "the address of a step's random numbers",
        (loop.Segment, "_save_if_due"): "asking whether to save or stop",
        (loop.Segment, "_report"): "metrics, guards, progress line",
    }
    patches = [clock.around(*place, part) for place, part in parts.items()]
    for patch in patches:
        patch.start()
    with clock.part(WORK):
        segment._train(stage)
    with clock.part(SAVE):
        segment.states.save_latest(segment.state())
    with clock.part(END):
        segment.finish()
    for patch in patches:
        patch.stop()
    return clock.seconds


def main():
    parser = argparse.ArgumentParser(description="Measure the engine's own share of a step.")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    study = Study("demo")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        demo.images_and_teacher(study)
        teacher = load_teacher("teacher", study.data)
        found = {stage: [] for stage in RUNS}
        for number in range(args.rounds):
            for stage, run in RUNS.items():
                settings = study.runs[run].settings
                data = training_set(settings, None)
                where = f"{folder}/{number}"
                found[stage].append(measure(stage, settings, teacher, data, where, args.steps))
    for stage, rounds in found.items():
        table(stage, rounds, args.steps)


def table(stage, rounds, steps):
    """Medians over the rounds, a line a part."""
    total = {name: statistics.median(r.get(name, 0.0) for r in rounds) for name in rounds[0]}
    once = {name: total.pop(name) for name in (SAVE, END)}
    whole = sum(total.values())
    own = 1 - total[WORK] / whole
    print(f"\n{stage}: {1000 * whole / steps:.1f} CPU ms a step, the engine's own {own:.1%}\n")
    print("| part | CPU ms a step | share |\n| --- | ---: | ---: |")
    for name, seconds in sorted(total.items(), key=lambda item: -item[1]):
        print(f"| {name} | {1000 * seconds / steps:.2f} | {seconds / whole:.1%} |")
    for name, seconds in once.items():
        print(f"| {name} | {1000 * seconds:.0f} each | |")


if __name__ == "__main__":
    main()
