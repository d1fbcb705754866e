"""A stopped and resumed training against an undisturbed one; NCCL; memory that must not grow."""

import contextlib
import os
import signal
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from benchmarks.gpu_parts import workload
from benchmarks.gpu_parts.clock import live_bytes
from benchmarks.gpu_parts.report import cases, row
from gear.runtime import distributed, rng
from gear.runtime.loop import Segment

STOP, AT = 8, 4


def joint_trainer(context, **changes):
    settings = workload.small(context.tiny, **changes)
    teacher = workload.small_teacher(settings, context.tiny)
    return workload.trainer("joint", settings, context.device, teacher, tune=False), settings


def train(context, folder, deterministic, interrupted):
    """Weights of a joint training of STOP steps; interrupted: stopped once before step AT."""
    for _ in range(2):
        trainer, settings = joint_trainer(context, runtime__log_every=2)
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        torch.backends.cudnn.deterministic = deterministic

        def stop():
            if interrupted and not (folder / "latest.pt").exists():
                os.kill(os.getpid(), signal.SIGTERM)

        segment = Segment(trainer, workload.Images(settings, AT, stop), folder / "end", 0, STOP)
        with contextlib.suppress(SystemExit):
            segment.run("resume")
        if (folder / "end" / "weights.safetensors").exists():
            break
    return load_file(folder / "end" / "weights.safetensors")


def resumed(context, deterministic):
    with tempfile.TemporaryDirectory() as folder:
        whole = train(context, Path(folder) / "whole", deterministic, False)
        parts = train(context, Path(folder) / "parts", deterministic, True)
    differ = [k for k in whole if not torch.equal(whole[k], parts[k])]
    top = sum((whole[k].double() - parts[k].double()).square().sum().item() for k in whole)
    size = sum(whole[k].double().square().sum().item() for k in whole)
    word = "on" if deterministic else "off"
    return row(
        f"resumed = undisturbed, deterministic algorithms {word}",
        ok=not differ if deterministic else None,
        note="" if deterministic else "the size of the difference, not judged",
        tensors_that_differ=len(differ),
        of=len(whole),
        difference=(top / size) ** 0.5,
    )


def one_process(context):
    """The operations of gear.runtime.distributed in a group of one process."""
    backend = "nccl" if context.device.type == "cuda" else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        address = f"file://{folder}/group"
        dist.init_process_group(backend, init_method=address, world_size=1, rank=0)
        control = dist.new_group(backend="gloo")
        x = torch.randn(1000, device=context.device)
        mine = x.clone().requires_grad_()
        averaged = x.clone()
        distributed._average([averaged])
        mean = distributed._Mean.apply(mine)
        mean.square().sum().backward()
        dist.broadcast(averaged, 0)
        word = [None]
        dist.all_gather_object(word, "here", group=control)
        dist.barrier()
        same = torch.equal(averaged, x) and torch.equal(mean, x) and word == ["here"]
        same = same and torch.allclose(mine.grad, 2 * x)
        dist.destroy_process_group()
    return row(f"{backend}, one process", ok=same)


def memory(context):
    """Bytes that are alive after a few joint steps and after many."""
    early, late = (2, 6) if context.tiny else (5, 50)
    trainer, settings = joint_trainer(context, runtime__log_every=5)
    batch, found = workload.batch(settings), {}
    for number in range(late):
        rng.seed_torch(0, "dropout", number)
        trainer.step(batch, number)
        if number + 1 in (early, late):
            found[number + 1] = live_bytes(context.device)
    return row(
        f"memory after {early} and {late} steps",
        ok=found[early] == found[late],
        mib_early=found[early] / 2**20,
        mib_late=found[late] / 2**20,
    )


def rows(context):
    yield from cases(
        context,
        {
            "resumed, deterministic": lambda: resumed(context, True),
            "resumed, not deterministic": lambda: resumed(context, False),
            "one process": lambda: one_process(context),
            "memory": lambda: memory(context),
        },
    )
