"""Training steps of each stage at reduced size: finite, learning, and never waiting for the GPU."""

import math
import warnings
from collections import Counter

import torch

from benchmarks.gpu_parts import workload
from benchmarks.gpu_parts.report import cases, row
from gear.runtime import rng
from gear.study.stages import STAGES

STEPS = 20


def synchronisations(caught):
    """{place: count} of the warnings that say that a step waited for the GPU."""
    waits = [w for w in caught if "synchronizing CUDA operation" in str(w.message)]
    return Counter(f"{'/'.join(w.filename.split('/')[-3:])}:{w.lineno}" for w in waits)


def nondeterministic(caught):
    """The operations that have no deterministic form on this device."""
    said = {str(w.message).split(" ")[0] for w in caught if "deterministic" in str(w.message)}
    return sorted(said)


def stage(context, name, precision):
    """One optimizer step, then 20 more on the same images, under the device's watch for waits."""
    rate = {f"optim__lr_{part}": 1e-3 for part in ("tokenizer", "ar")}
    settings = workload.of_stage(name, context.tiny, runtime__precision=precision, **rate)
    teacher = workload.small_teacher(settings, context.tiny) if STAGES[name].aligns else None
    trainer = workload.trainer(name, settings, context.device, teacher)
    batch, metrics, cuda = workload.batch(settings), [], context.device.type == "cuda"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(STEPS + 1):
            if cuda:  # the first step may wait: it makes buffers
                torch.cuda.set_sync_debug_mode("warn" if number else "default")
            rng.seed_torch(0, "dropout", number)
            metrics.append(trainer.step(batch, number))
        if cuda:
            torch.cuda.set_sync_debug_mode("default")
    values = [{k: v.item() for k, v in step.items()} for step in metrics]
    losses = [step["l1" if STAGES[name].owns_tokenizer else "ntp"] for step in values]
    finite = all(math.isfinite(v) for step in values for v in step.values())
    falls = sum(losses[-3:]) / 3 < losses[0]
    waits = synchronisations(caught)
    notes = [f"waits at {place} ({count} times)" for place, count in waits.items()]
    notes += [f"not deterministic: {op}" for op in nondeterministic(caught)]
    return row(
        f"{name}, {precision}",
        ok=finite and falls and not waits,
        note="; ".join(notes),
        finite=finite,
        first=losses[0],
        last=losses[-1],
        waits=sum(waits.values()),
    )


def rows(context):
    if not workload.lpips_is_here():
        yield row("LPIPS", note="package absent: its layers with random VGG16 and random heads")
    yield from cases(
        context,
        {
            f"{name}, {precision}": lambda n=name, p=precision: stage(context, n, p)
            for name in STAGES
            for precision in ("bf16", "fp32")
        },
    )
