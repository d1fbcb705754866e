"""Where the time of one GEAR-L step goes: the longest kernels, the launches, the idle time."""

import torch
from torch.profiler import ProfilerActivity

from benchmarks.gpu_parts import workload
from benchmarks.gpu_parts.report import row

KERNELS = 25


def busy_seconds(intervals):
    """Total length of the union of (start, end) in microseconds."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total / 1e6


def profile(context, settings):
    """A joint step under torch's profiler, after two that are not counted."""
    shape = workload.TEACHER["tiny"] if context.tiny else None
    with context.device:
        teacher = workload.random_teacher("dinov2", settings.data.resolution, shape)
    trainer = workload.trainer("joint", settings, context.device, teacher)
    batch, cuda = workload.batch(settings), context.device.type == "cuda"
    for number in (1, 2):
        trainer.step(batch, number)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if cuda else [])
    with torch.profiler.profile(activities=activities) as watched:
        trainer.step(batch, 3)
        if cuda:
            torch.cuda.synchronize()
    kind = torch.autograd.DeviceType.CUDA if cuda else torch.autograd.DeviceType.CPU
    events = [e for e in watched.events() if e.device_type == kind and not e.is_user_annotation]
    if not cuda:  # the operations that nothing else called
        events = [e for e in events if e.cpu_parent is None]
    spans = [(e.time_range.start, e.time_range.end) for e in events]
    whole = (max(end for _, end in spans) - min(start for start, _ in spans)) / 1e6
    busy, total = busy_seconds(spans), {}
    for event, (start, end) in zip(events, spans, strict=True):
        name = event.name[:90]
        count, seconds = total.get(name, (0, 0.0))
        total[name] = count + 1, seconds + (end - start) / 1e6
    longest = sorted(total.items(), key=lambda item: -item[1][1])[:KERNELS]
    lines = [f"{1000 * s:.2f} ms, {n} times: {name}" for name, (n, s) in longest]
    return row(
        f"profile of a GEAR-L step, the {KERNELS} longest kernels",
        note="\n" + "\n".join(lines),
        ms=1000 * whole,
        idle_share=1 - busy / whole,
        launches=len(events),
    )
