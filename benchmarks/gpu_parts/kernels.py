"""The Triton kernels of gear/kernels/gpu.py: rows of `correct` and of `speed`.

The plain form is that of gear/tokenizer/assignment.py, on the same device; its scores are a tensor
(N, K). The chunked form is gear/kernels/chunked.py, which a CPU uses. The kernels need a GPU; for a
trial on a CPU, Triton's interpreter (TRITON_INTERPRET=1).

Shapes: N tokens, K codes, D dimensions of a code, W width of the AR.
"""

import importlib.util
import os

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.gpu_parts.clock import free, seconds_of
from benchmarks.gpu_parts.compare import compared
from benchmarks.gpu_parts.report import row
from gear.kernels import chunked
from gear.tokenizer.assignment import Assignment

TAU, ENTROPY_TAU = 0.1, 0.01
SCALE, ENTROPY_SCALE = 2 / TAU, 2 / ENTROPY_TAU  # of VQ
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


def missing(context):
    """Why the kernels cannot run here, or None."""
    if importlib.util.find_spec("triton") is None:
        return "left out: triton is not installed"
    if context.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return "left out: Triton needs a GPU, or TRITON_INTERPRET=1"
    return None


def sum_in_order():
    """Let the interpreter sum products one after another, each rounded once, as a GPU does.

    Its own numpy.matmul rounds a number in another way if the tile has another shape."""
    from triton.runtime import interpreter

    def create_dot(self, a, b, total, *_):
        left, right, found = a.data.astype(np.float64), b.data.astype(np.float64), total.data
        for place in range(left.shape[1]):
            found = (found + left[:, place, None] * right[place]).astype(np.float32)
        return interpreter.TensorHandle(found, total.dtype.scalar)

    interpreter.InterpreterBuilder.create_dot = create_dot


def needed(context, name, function):
    """A case that says so where the kernels cannot run."""

    def case():
        from gear.kernels import gpu  # triton may be absent

        if context.device.type != "cuda":
            sum_in_order()
        return function(context, name, gpu)

    why = missing(context)
    return (lambda: row(name, note=why)) if why else case


# ---- correct -------------------------------------------------------------------------------------


def inputs(context):
    """(features (N, D), codes (K, D)) of VQ. Some features are between codes."""
    N, K, D = (70, 200, 8) if context.tiny else (2048, 16384, 8)
    codes_KD = F.normalize(torch.randn(K, D, device=context.device), dim=-1)
    z_ND = codes_KD[torch.randint(K, (N,), device=context.device)]
    return F.normalize(z_ND + 0.2 * torch.randn_like(z_ND), dim=-1), codes_KD


def table_and_gradient(context, features_ND, codes_KD, dtype):
    W = 40 if context.tiny else 1024
    shapes = (len(codes_KD), W), (len(features_ND), W)
    return [torch.randn(shape, device=context.device).to(dtype) for shape in shapes]


ENTROPY = "entropy", "mean", "features", "codes"
READ = "u", "features", "codes", "table"


def plain_entropy(features_ND, codes_KD, grad_N, grad_K):
    """{name: tensor} by torch, in the format of the features."""
    f, c = (x.detach().requires_grad_() for x in (features_ND, codes_KD))
    entropy_N, mean_K = Assignment(f[None], c, 2).entropies(ENTROPY_TAU)
    loss = (grad_N * entropy_N).sum() + (grad_K * mean_K).sum()
    found = entropy_N, mean_K, *torch.autograd.grad(loss, (f, c))
    return dict(zip(ENTROPY, found, strict=True))


def plain_read(features_ND, codes_KD, table_KW, grad_NW):
    """The same of the read-out; p is rounded to the table's format."""
    f, c, t = (x.detach().requires_grad_() for x in (features_ND, codes_KD, table_KW))
    u_NW = (SCALE * f @ c.T).softmax(-1).to(t.dtype) @ t
    gradients = torch.autograd.grad(u_NW, (f, c, t), grad_NW.to(u_NW.dtype))
    return dict(zip(READ, (u_NW, *gradients), strict=True))


def entropy_by(form, features_ND, codes_KD, grad_N, grad_K):
    """The same by a module of gear/kernels/."""
    tensors = features_ND, codes_KD, ENTROPY_SCALE
    statistics_2N, *values = form.entropy(*tensors)
    gradients = form.entropy_grad(*tensors, statistics_2N, values[0], grad_N, grad_K)
    return dict(zip(ENTROPY, (*values, *gradients), strict=True))


def read_by(form, features_ND, codes_KD, table_KW, grad_NW):
    tensors = features_ND, codes_KD, SCALE, table_KW
    statistics_2N, u_NW = form.read(*tensors)
    gradients = form.read_grad(*tensors, statistics_2N, grad_NW, True)
    return dict(zip(READ, (u_NW, *gradients), strict=True))


def judged(name, found, plain, wanted, tolerance):
    """The row of the kernels, with the error of the plain form on the same device."""
    made = compared(name, found, wanted, tolerance)
    made["numbers"]["plain_error"] = compared(name, plain, wanted, 1)["numbers"]["error"]
    return made


def argmax(context, name, gpu):
    """Against float64; and the lowest index among equal codes, within and across blocks."""
    features_ND, codes_KD = inputs(context)
    same = (gpu.argmax(features_ND, codes_KD) == plain_argmax(features_ND, codes_KD)).float().mean()
    half = len(codes_KD) // 2
    codes_KD[1] = codes_KD[0]
    codes_KD[half : 2 * half] = codes_KD[:half].clone()
    found_N = gpu.argmax(features_ND, codes_KD)
    lowest = bool((found_N < half).all() and (found_N != 1).all())
    ok = same.item() > 0.999 and lowest  # a near tie may be decided otherwise in float32
    return row(
        name, ok=ok, same=same.item(), note="" if lowest else "not the lowest of equal codes"
    )


def plain_argmax(features_ND, codes_KD):
    return (features_ND.double() @ codes_KD.double().T).argmax(-1)


def entropy(context, name, gpu):
    tensors = inputs(context)
    tensors += tuple(torch.randn(len(x), device=context.device) for x in tensors)
    wanted = plain_entropy(*(x.double() for x in tensors))
    return judged(name, entropy_by(gpu, *tensors), plain_entropy(*tensors), wanted, 1e-4)


def read(context, name, gpu, precision, outputs, tolerance):
    """outputs: those to judge. Gradients of features and codes are float32 with any table."""
    tensors = inputs(context)
    tensors += tuple(table_and_gradient(context, *tensors, PRECISIONS[precision]))
    wanted = plain_read(*(x.double() for x in tensors))
    made = read_by(gpu, *tensors), plain_read(*tensors), wanted
    return judged(name, *({key: x[key] for key in outputs} for x in made), tolerance)


def same_bits(context, name, gpu):
    """Two runs of everything, with a table in bfloat16."""
    tensors = inputs(context)
    table_and_grad = table_and_gradient(context, *tensors, torch.bfloat16)
    grads = [torch.randn(len(x), device=context.device) for x in tensors]

    def run():
        found = entropy_by(gpu, *tensors, *grads), read_by(gpu, *tensors, *table_and_grad)
        return [gpu.argmax(*tensors), *(x for by_name in found for x in by_name.values())]

    return row(name, ok=all(torch.equal(x, y) for x, y in zip(run(), run(), strict=True)))


def correct(context):
    """{case: function} for the part `correct`."""
    found = {"kernel argmax": argmax, "kernel entropy": entropy, "kernels, equal bits": same_bits}
    for precision, rounded in (("float32", 1e-4), ("bf16", 2**-7)):
        for word, outputs, tolerance in (
            ("read-out and table", ("u", "table"), rounded),
            ("gradients of a read-out", ("features", "codes"), 1e-4),
        ):
            found[f"kernel {word}, {precision}"] = (
                lambda c, n, g, p=precision, o=outputs, t=tolerance: read(c, n, g, p, o, t)
            )
    return {name: needed(context, name, function) for name, function in found.items()}


# ---- speed ---------------------------------------------------------------------------------------


def timed(context, name, forward, backward):
    """ms of each, and the MiB that both need beyond what is there before.

    backward: takes what forward returns, None: there is none."""
    count = 1 if context.tiny else 10
    free(context.device)
    before = used(context.device)
    made = forward()
    if backward:
        backward(made)
    numbers = {"peak_mib": (used(context.device, True) - before) / 2**20}
    numbers["forward_ms"] = 1000 * seconds_of(forward, context.device, count)
    if backward:
        numbers["backward_ms"] = 1000 * seconds_of(lambda: backward(made), context.device, count)
    return row(name, **numbers)


def used(device, most=False):
    """Bytes in use, or the most since the last `free`."""
    if device.type != "cuda":
        return float("nan")
    return (torch.cuda.max_memory_allocated if most else torch.cuda.memory_allocated)()


def of_speed(context, W=1):
    """(features, codes, table, gradient of what is read)"""
    N, K, D = (64, 128, 8) if context.tiny else (8192, 16384, 8)
    shapes = (N, D), (K, D), (K, W), (N, W)
    tensors = [torch.randn(shape, device=context.device) for shape in shapes]
    z_ND, codes_KD = (F.normalize(x, dim=-1) for x in tensors[:2])
    table_KW, grad_NW = (x.bfloat16() for x in tensors[2:])
    return z_ND, codes_KD, table_KW, grad_NW


def read_plainly(context, name, W):
    *learns, table_KW, grad_NW = of_speed(context, W)
    features_ND, codes_KD = (x.requires_grad_() for x in learns)

    def forward():
        with torch.autocast(context.device.type, torch.bfloat16):
            return Assignment(features_ND[None], codes_KD, 2).read(table_KW, TAU)[0]

    def backward(u_NW):
        torch.autograd.grad(u_NW, (features_ND, codes_KD), grad_NW, retain_graph=True)

    return timed(context, name, forward, backward)


def read_fused(context, name, form, W):
    features_ND, codes_KD, table_KW, grad_NW = of_speed(context, W)
    tensors = features_ND, codes_KD, SCALE, table_KW

    def backward(made):
        form.read_grad(*tensors, made[0], grad_NW, False)

    return timed(context, name, lambda: form.read(*tensors), backward)


def entropy_plainly(context, name):
    features_ND, codes_KD = (x.requires_grad_() for x in of_speed(context)[:2])
    grads = [torch.randn(len(x), device=context.device) for x in (features_ND, codes_KD)]

    def forward():
        return Assignment(features_ND[None], codes_KD, 2).entropies(ENTROPY_TAU)

    def backward(made):
        torch.autograd.grad(made, (features_ND, codes_KD), grads, retain_graph=True)

    return timed(context, name, forward, backward)


def entropy_fused(context, name, form):
    features_ND, codes_KD, *_ = of_speed(context)
    grads = [torch.randn(len(x), device=context.device) for x in (features_ND, codes_KD)]
    tensors = features_ND, codes_KD, ENTROPY_SCALE

    def backward(made):
        form.entropy_grad(*tensors, *made[:2], *grads)

    return timed(context, name, lambda: form.entropy(*tensors), backward)


def argmax_plainly(context, name):
    features_ND, codes_KD, *_ = of_speed(context)
    return timed(context, name, lambda: (features_ND @ codes_KD.T).argmax(-1), None)


def argmax_fused(context, name, form):
    features_ND, codes_KD, *_ = of_speed(context)
    return timed(context, name, lambda: form.argmax(features_ND, codes_KD), None)


def speed(context):
    """{case: function} for the part `speed`: each reduction, plain, in chunks and by a kernel."""
    plain = {"argmax": argmax_plainly, "entropy": entropy_plainly}
    fused = {"argmax": argmax_fused, "entropy": entropy_fused}
    for W in (32,) if context.tiny else (768, 1024):
        plain[f"read-out {W}"] = lambda c, n, w=W: read_plainly(c, n, w)
        fused[f"read-out {W}"] = lambda c, n, form, w=W: read_fused(c, n, form, w)
    found = {}
    for key in plain:
        names = [f"{key}, {form}" for form in ("plain", "chunked", "kernel")]
        found[names[0]] = lambda k=key, n=names[0]: plain[k](context, n)
        found[names[1]] = lambda k=key, n=names[1]: fused[k](context, n, chunked)
        found[names[2]] = needed(context, names[2], fused[key])
    return found
