"""Speed at the paper's size: training steps, drawing, decoding, kernels, a profile of one step.

FLOPs are those that `gear plan` counts (matrix products, convolutions, attention), so that a share
of the ceiling is of useful work. Rows come in the order of their use; what no time is left for is
said.
"""

from types import SimpleNamespace

import numpy as np
import torch

from benchmarks.gpu_parts import kernels, text, workload
from benchmarks.gpu_parts.clock import free, peak_gib, seconds_of
from benchmarks.gpu_parts.profile import profile
from benchmarks.gpu_parts.report import cases, row
from gear.ar.transformer import Transformer
from gear.plan.costs import cost
from gear.plan.pieces import ar as counted_ar
from gear.plan.pieces import text_ar as counted_text_ar
from gear.plan.pieces import tokenizer as counted_tokenizer
from gear.runtime.device import set_tf32
from gear.sampling.decode import decoded
from gear.sampling.generate import Drawer, Sampler
from gear.study.stages import STAGES
from gear.tokenizer.autoencoder import Tokenizer

TRAINING = ("joint l", "ar l", "tokenizer", "t2i 1b", "joint b", "ar b", "joint xl", "ar xl")
TINY = ("joint l", "ar l", "tokenizer", "t2i 1b")  # the other sizes are the same toy
RATED = TINY  # whose TFLOP/s go to config/devices.yaml


def settings_of(context, size, batch, stage="joint", **changes):
    if context.tiny:
        return workload.of_stage(stage, True, optim__batch=batch, **changes)
    changes["runtime__tf32"] = STAGES[stage].owns_tokenizer  # as config/studies/paper.yaml
    return workload.paper(size, batch, **text.changes(stage, "paper"), **changes)


def flops_of(stage, settings):
    """Of one image's training step."""
    run = SimpleNamespace(stage=stage, settings=settings)
    study = text.study(settings, workload.PAPER["teachers"])
    return cost(run, study)["flops_per_image"]


def teacher_of(context, settings, device):
    shape = workload.TEACHER["tiny"] if context.tiny else None
    with device:
        return workload.random_teacher("dinov2", settings.data.resolution, shape)


def training(context, kind, compiled):
    """Images a second of one stage's steps, at the largest batch of 32, 16, ... that fits."""
    stage, _, size = kind.partition(" ")
    batch = 4 if context.tiny else 32
    while True:
        settings = settings_of(context, size or "l", batch, stage, runtime__compile=compiled)
        free(context.device)
        try:
            seconds = step_seconds(context, stage, settings)
            break
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        batch //= 2
    flops = flops_of(stage, settings) * batch / seconds
    ceiling = context.known["bf16_tflops"] * 1e12
    known = {}
    if not compiled and kind in RATED:
        known = {f"{stage}_rate": flops / 1e12, "rated_with": f"bf16, batch {batch}, not compiled"}
    return row(
        f"{kind}, {'compiled' if compiled else 'eager'}",
        known=known,
        images_per_s=batch / seconds,
        batch=batch,
        ms=1000 * seconds,
        peak_gib=peak_gib(context.device),
        tflop_per_s=flops / 1e12,
        share_of_ceiling=flops / ceiling,
    )


def step_seconds(context, stage, settings):
    teacher = teacher_of(context, settings, context.device) if STAGES[stage].aligns else None
    trainer = workload.trainer(stage, settings, context.device, teacher)
    batch, number = workload.batch(settings), [0]

    def step():
        number[0] += 1  # number 0 has learning rate 0 and may make buffers
        trainer.step(batch, number[0])

    return seconds_of(step, context.device, count=2 if context.tiny else 5, warmup=2)


# ---- drawing and decoding ------------------------------------------------------------------------


def random_ar(context, settings, dtype):
    side = settings.data.resolution // settings.tokenizer.downsampling
    codes, classes = settings.tokenizer.codebook_size, settings.data.classes
    with context.device:
        ar = Transformer(settings.ar, codes, classes, side)
        torch.nn.init.normal_(ar.head.weight, 0.0, 0.02)
    return ar.eval().requires_grad_(False).to(dtype)


def drawing_bytes(ar, sequences, slots):
    """Bytes that drawing must read: for each token all weights and the valid part of the cache."""
    size = ar.head.weight.element_size()
    weights = sum(p.numel() for p in ar.parameters()) - ar.embedding.weight.numel()
    cached = 2 * ar.config.layers * ar.config.dim * (slots - 1 + (ar.length + 1) / 2)
    return ar.length * size * (weights + sequences * cached)


def drawing(context, size, guidance, dtype):
    """Images and tokens a second of drawing many images at once."""
    images = 4 if context.tiny else 256
    settings = settings_of(context, size, images)
    free(context.device)
    ar = random_ar(context, settings, dtype)
    labels = torch.arange(images, device=context.device) % settings.data.classes
    side = settings.data.resolution // settings.tokenizer.downsampling
    codes, classes = settings.tokenizer.codebook_size, settings.data.classes
    flops = counted_ar(settings.ar, codes, classes, side, 1).flops["ar"]
    name = f"drawing {size}"
    return drawn(context, name, ar, ar.condition(labels), None, guidance, flops, size == "l")


def text_drawing(context, guidance, dtype):
    """Images and tokens a second of drawing from captions, the longest of which fills all slots."""
    images = 4 if context.tiny else 64
    settings = settings_of(context, "1b", images, "t2i")
    free(context.device)
    ar = text.random_ar(settings, context.device, 0.02, dtype)
    prefix, null = text.prefixes(ar, settings, images)
    side = settings.data.resolution // settings.tokenizer.downsampling
    codes = settings.tokenizer.codebook_size
    flops = counted_text_ar(settings.ar, codes, settings.text, side, 1).flops["ar"]
    return drawn(context, "drawing t2i 1b", ar, prefix, null, guidance, flops)


def drawn(context, name, ar, prefix, null, guidance, flops, rated=False):
    """The row of drawing from a Prefix. flops: of one image; rated: for config/devices.yaml."""
    images = len(prefix.vectors_BPD)
    sampler, seeds = Sampler(images=images, guidance=guidance), np.arange(images)
    drawer = Drawer(ar, sampler)  # once, as for the many batches of a sampler
    seconds = seconds_of(lambda: drawer(prefix, seeds, null), context.device, count=1)
    sequences = images * (2 if guidance != 1 else 1)
    rate = flops * sequences / seconds / 1e12
    bandwidth = drawing_bytes(ar, sequences, prefix.slots) / seconds / 1e12
    precision = "bf16" if ar.head.weight.dtype == torch.bfloat16 else "fp32"
    headline = rated and guidance == 1.0 and precision == "fp32"
    return row(
        f"{name}, guidance {guidance}, {precision}",
        known={"draw_rate": rate} if headline else {},
        images_per_s=images / seconds,
        tokens_per_s=images * ar.length / seconds,
        at_once=images,
        peak_gib=peak_gib(context.device),
        share_of_product=rate / context.known[f"{precision}_tflops"],
        share_of_bandwidth=bandwidth / context.known["copy_tb_s"],
    )


def decoding(context, precision):
    """Images a second of the tokenizer's decoder, tokens to 8-bit images."""
    images, part = (4, 2) if context.tiny else (256, 64)
    settings = settings_of(context, "l", images)
    set_tf32(False)  # a training of before may have left it on; `gear.runtime.device.use` does this
    free(context.device)
    with context.device:
        tokenizer = Tokenizer(settings.tokenizer, settings.data.channels)
    tokenizer = tokenizer.eval().requires_grad_(False)
    length = (settings.data.resolution // settings.tokenizer.downsampling) ** 2
    tokens = torch.randint(settings.tokenizer.codebook_size, (images, length)).numpy()

    def run():
        low = precision == "bf16"
        with torch.autocast(context.device.type, torch.bfloat16, enabled=low):
            for _ in decoded(tokenizer, tokens, part):
                pass

    seconds = seconds_of(run, context.device, count=2)
    data = settings.data
    flops = counted_tokenizer(settings.tokenizer, data.channels, data.resolution).flops["decode"]
    rate = flops * images / seconds / 1e12
    return row(
        f"decoding, {precision}",
        images_per_s=images / seconds,
        tflop_per_s=rate,
        share_of_product=rate / context.known[f"{precision}_tflops"],
        peak_gib=peak_gib(context.device),
    )


# ---- in order ------------------------------------------------------------------------------------


def rows(context):
    kinds, sizes = (TINY, ("l",)) if context.tiny else (TRAINING, ("l", "xl"))
    found = {f"{kind}, eager": lambda k=kind: training(context, k, False) for kind in kinds}
    for size in sizes:
        for guidance in (1.0, 1.5):
            for dtype in (torch.float32, torch.bfloat16):
                key = f"drawing {size}, guidance {guidance}, {dtype}"
                found[key] = lambda s=size, g=guidance, d=dtype: drawing(context, s, g, d)
    for guidance in (1.0, 1.75):
        for dtype in (torch.float32, torch.bfloat16):
            key = f"drawing t2i 1b, guidance {guidance}, {dtype}"
            found[key] = lambda g=guidance, d=dtype: text_drawing(context, g, d)
    for precision in ("fp32", "bf16"):
        found[f"decoding, {precision}"] = lambda p=precision: decoding(context, p)
    found |= kernels.speed(context)
    profiled = settings_of(context, "l", 4 if context.tiny else 32)
    found["profile"] = lambda: profile(context, profiled)
    yield from cases(context, found, reserve=1.0 if context.tiny else 12.0)
    # on a CPU inductor alone would take longer than everything else here
    if context.device.type == "cuda":
        found = {f"{kind}, compiled": lambda k=kind: training(context, k, True) for kind in kinds}
        yield from cases(context, found, reserve=60.0)
