"""A network on the device, under each way of running it, against a reference.

The error of a case is ||out - ref|| / ||ref||, the largest of its outputs and gradients. The
tolerances were chosen without a GPU, from the number formats: float32 sums of a few thousand terms
stay below 1e-4, TF32 has a mantissa of 10 bits and bfloat16 one of 7. Where a
network needs more, the case says so.
"""

import copy
from contextlib import nullcontext

import torch

from benchmarks.gpu_parts.clock import relative_error
from benchmarks.gpu_parts.report import row
from gear.config import Runtime
from gear.runtime.tune import tune

TOLERANCE = {
    "float32": 1e-4,
    "tf32": 1e-2,
    "bf16": 3e-2,
    "channels_last": 1e-4,
    "compile": 1e-4,
    "recompute": 1e-4,
}


def modes(context, *, convolutions, compiles=True):
    """The ways of running that make a difference to a network here."""
    wanted = ["float32", "bf16", "recompute"]
    wanted += ["channels_last"] if convolutions else []
    wanted += ["tf32"] if convolutions and context.device.type == "cuda" else []
    # inductor takes 10 s and more for a case: on a CPU one case alone is compiled
    return wanted + (["compile"] if compiles or context.device.type == "cuda" else [])


def prepared(module, blocks, mode, device):
    """A copy of a module on the device, as runtime.* of this mode would run it.

    blocks: module -> the blocks in it that are compiled and recomputed."""
    mine = copy.deepcopy(module).to(device)
    runtime = Runtime(
        channels_last=mode == "channels_last",
        compile=mode == "compile",
        recompute=mode == "recompute",
    )
    tune(runtime, [mine], blocks(mine))
    return mine


def run(module, function, inputs, device, mode="float32"):
    """{name: tensor}: the outputs of function(module, *inputs), and all gradients as one vector."""
    inputs = [x.detach().to(device) for x in inputs]
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
    torch.backends.cudnn.allow_tf32 = mode == "tf32"
    autocast = torch.autocast(device.type, torch.bfloat16) if mode == "bf16" else nullcontext()
    with autocast:
        out = function(module, *inputs)
    out = out if isinstance(out, tuple) else (out,)
    loss = sum((x.float() * _weights(x)).sum() for x in out)
    learns = [p for p in (*module.parameters(), *inputs) if p.requires_grad]
    gradients = torch.autograd.grad(loss, learns, allow_unused=True)
    found = {f"output {n}": x.float() for n, x in enumerate(out)}
    found["gradients"] = torch.cat([g.float().flatten() for g in gradients if g is not None])
    torch.backends.cudnn.allow_tf32 = False
    return found


def _weights(x):
    """Fixed numbers of both signs, so that no gradient vanishes by symmetry."""
    place = torch.arange(x.numel(), dtype=torch.float32, device=x.device)
    return torch.sin(place).view(x.shape) / x.numel() ** 0.5


def compared(name, found, wanted, tolerance, note=""):
    """The row of {output: tensor} against the reference's."""
    errors = {key: relative_error(found[key], wanted[key]) for key in wanted}
    worst = max(errors, key=errors.get)
    ok = all(error <= tolerance for error in errors.values())  # false for NaN
    note = "; ".join(filter(None, (f"largest in {worst}", note)))
    return row(name, ok=ok, note=note, error=errors[worst], tolerance=tolerance)


def of_network(context, name, module, blocks, function, inputs, tolerances=(), **options):
    """{case: function} of one network under every mode, against float32 on the CPU.

    tolerances: {mode: tolerance} where it is not that of TOLERANCE."""
    wanted, tolerances = {}, TOLERANCE | dict(tolerances)

    def case(mode):
        if not wanted:
            wanted.update(run(module, function, inputs, torch.device("cpu")))
        mine = prepared(module, blocks, mode, context.device)
        found = run(mine, function, inputs, context.device, mode)
        return compared(f"{name}, {mode}", found, wanted, tolerances[mode])

    return {f"{name}, {m}": lambda m=m: case(m) for m in modes(context, **options)}
