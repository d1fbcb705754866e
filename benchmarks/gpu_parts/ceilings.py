"""The two ceilings of a device: memory bandwidth and matrix products."""

import torch

from benchmarks.gpu_parts.clock import seconds_of
from benchmarks.gpu_parts.report import cases, row


def copy(context):
    """TB/s of a copy within the device, bytes read and written."""
    size = 2**26 if context.tiny else 2**33  # bytes
    source = torch.zeros(size // 4, dtype=torch.float32, device=context.device)
    target = torch.empty_like(source)
    seconds = seconds_of(lambda: target.copy_(source), context.device, count=10)
    rate = 2 * source.numel() * source.element_size() / seconds / 1e12
    return row("copy", known={"copy_tb_s": rate}, tb_per_s=rate)


def product(context, name, dtype, tf32=False):
    """TFLOP/s of a square matrix product of random numbers."""
    side = 512 if context.tiny else 8192
    a, b = (torch.randn(side, side, device=context.device).to(dtype) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    seconds = seconds_of(lambda: a @ b, context.device, count=10, warmup=3)
    torch.backends.cuda.matmul.allow_tf32 = before
    rate = 2 * side**3 / seconds / 1e12
    return row(name, known={f"{name}_tflops": rate}, tflop_per_s=rate, side=side)


def rows(context):
    found = {"copy": lambda: copy(context)}
    products = {"bf16": (torch.bfloat16, False), "fp32": (torch.float32, False)}
    if context.device.type == "cuda":
        products["tf32"] = (torch.float32, True)
    for name, (dtype, tf32) in products.items():
        found[name] = lambda name=name, d=dtype, t=tf32: product(context, name, d, t)
    yield from cases(context, found)
