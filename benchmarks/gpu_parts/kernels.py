"""The Triton kernels of gear/kernels/gpu.py: rows of `correct` and of `speed`.

The plain form is that of gear/tokenizer/assignment.py, on the same device; its scores are a tensor
(N, K). The kernels need a GPU; for a trial on a CPU, Triton's interpreter (TRITON_INTERPRET=1).

Shapes: N tokens, K codes, D dimensions of a code, W width of the AR.
"""

import importlib.util
import os

import torch
import torch.nn.functional as F

from benchmarks.gpu_parts.clock import free, seconds_of
from benchmarks.gpu_parts.compare import compared
from benchmarks.gpu_parts.report import row
from gear.tokenizer.assignment import Assignment

TAU, ENTROPY_TAU = 0.1, 0.01
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


def missing(context):
    """Why the kernels cannot run here, or None."""
    if importlib.util.find_spec("triton") is None:
        return "left out: triton is not installed"
    if context.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return "left out: Triton needs a GPU, or TRITON_INTERPRET=1"
    return None


def needed(context, name, function):
    """A case that says so where the kernels cannot run."""

    def case():
        from gear.kernels import gpu  # triton may be absent

        return function(context, name, gpu)

    why = missing(context)
    return (lambda: row(name, note=why)) if why else case


# ---- correct -------------------------------------------------------------------------------------


def inputs(context, tau):
    """(features (N, D), codes (K, D)) of VQ; scores 2 z.c / tau. Some features between codes."""
    N, K, D = (70, 200, 8) if context.tiny else (2048, 16384, 8)
    codes_KD = F.normalize(torch.randn(K, D, device=context.device), dim=-1)
    z_ND = codes_KD[torch.randint(K, (N,), device=context.device)]
    z_ND = F.normalize(z_ND + 0.2 * torch.randn_like(z_ND), dim=-1)
    return 2 / tau * z_ND, codes_KD


def table_and_gradient(context, features_ND, codes_KD, dtype):
    W = 40 if context.tiny else 1024
    shapes = (len(codes_KD), W), (len(features_ND), W)
    return [torch.randn(shape, device=context.device).to(dtype) for shape in shapes]


def plain_entropy(features_ND, codes_KD, grad_N, grad_K):
    """{name: tensor} by torch, in the format of the features."""
    f, c = (x.detach().requires_grad_() for x in (features_ND, codes_KD))
    entropy_N, mean_K = Assignment(f[None], c).entropies(1.0)
    loss = (grad_N * entropy_N).sum() + (grad_K * mean_K).sum()
    gradients = torch.autograd.grad(loss, (f, c))
    found = {"lse": (f @ c.T).logsumexp(-1), "entropy": entropy_N, "mean": mean_K}
    return found | dict(zip(("features", "codes"), gradients, strict=True))


def plain_read(features_ND, codes_KD, table_KW, grad_NW):
    """The same of the read-out; p is rounded to the table's format."""
    f, c, t = (x.detach().requires_grad_() for x in (features_ND, codes_KD, table_KW))
    u_NW = (f @ c.T).softmax(-1).to(t.dtype) @ t
    gradients = torch.autograd.grad(u_NW, (f, c, t), grad_NW.to(u_NW.dtype))
    return {"u": u_NW} | dict(zip(("features", "codes", "table"), gradients, strict=True))


def judged(name, found, plain, wanted, tolerance):
    """The row of the kernels, with the error of the plain form on the same device."""
    made = compared(name, found, wanted, tolerance)
    made["numbers"]["plain_error"] = compared(name, plain, wanted, 1)["numbers"]["error"]
    return made


def argmax(context, name, gpu):
    """Against float64; and the lowest index among equal codes, within and across blocks."""
    features_ND, codes_KD = inputs(context, ENTROPY_TAU)
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
    features_ND, codes_KD = inputs(context, ENTROPY_TAU)
    grads = [torch.randn(len(x), device=context.device) for x in (features_ND, codes_KD)]
    lse_N, entropy_N, mean_K = gpu.entropy(features_ND, codes_KD)
    gradients = gpu.entropy_grad(features_ND, codes_KD, lse_N, entropy_N, *grads)
    found = {"lse": lse_N, "entropy": entropy_N, "mean": mean_K}
    found |= dict(zip(("features", "codes"), gradients, strict=True))
    plain = plain_entropy(features_ND, codes_KD, *grads)
    wanted = plain_entropy(*(x.double() for x in (features_ND, codes_KD, *grads)))
    return judged(name, found, plain, wanted, 1e-4)


def read(context, name, gpu, precision, outputs, tolerance):
    """outputs: those to judge. Gradients of features and codes are float32 with any table."""
    features_ND, codes_KD = inputs(context, TAU)
    tensors = (
        features_ND,
        codes_KD,
        *table_and_gradient(context, features_ND, codes_KD, PRECISIONS[precision]),
    )
    wanted = plain_read(*(x.double() for x in tensors))
    inner_N = (wanted["u"] * tensors[3].double()).sum(-1).float()
    u_NW, lse_N = gpu.read(*tensors[:3])
    gradients = gpu.read_grad(*tensors[:3], lse_N, inner_N, tensors[3], True)
    found = {"u": u_NW} | dict(zip(("features", "codes", "table"), gradients, strict=True))
    plain = plain_read(*tensors)
    chosen = ({key: made[key] for key in outputs} for made in (found, plain, wanted))
    return judged(name, *chosen, tolerance)


def same_bits(context, name, gpu):
    """Two runs of everything, with a table in bfloat16."""
    features_ND, codes_KD = inputs(context, TAU)
    table_KW, grad_NW = table_and_gradient(context, features_ND, codes_KD, torch.bfloat16)
    grads = [torch.randn(len(x), device=context.device) for x in (features_ND, codes_KD)]

    def run():
        lse_N, entropy_N, mean_K = gpu.entropy(features_ND, codes_KD)
        u_NW, _ = gpu.read(features_ND, codes_KD, table_KW)
        inner_N = (u_NW.float() * grad_NW.float()).sum(-1)
        return (
            *(lse_N, entropy_N, mean_K, u_NW, gpu.argmax(features_ND, codes_KD)),
            *gpu.entropy_grad(features_ND, codes_KD, lse_N, entropy_N, *grads),
            *gpu.read_grad(features_ND, codes_KD, table_KW, lse_N, inner_N, grad_NW, True),
        )

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
    return (2 * z_ND).requires_grad_(), codes_KD.requires_grad_(), table_KW, grad_NW


def read_plainly(context, name, W):
    features_ND, codes_KD, table_KW, grad_NW = of_speed(context, W)

    def forward():
        with torch.autocast(context.device.type, torch.bfloat16):
            return Assignment(features_ND[None], codes_KD).read(table_KW, TAU)[0]

    def backward(u_NW):
        torch.autograd.grad(u_NW, (features_ND, codes_KD), grad_NW, retain_graph=True)

    return timed(context, name, forward, backward)


def read_fused(context, name, gpu, W):
    features_ND, codes_KD, table_KW, grad_NW = (x.detach() for x in of_speed(context, W))

    def forward():
        return gpu.read(features_ND / TAU, codes_KD, table_KW)

    def backward(made):
        u_NW, lse_N = made
        inner_N = (grad_NW.float() * u_NW.float()).sum(-1)
        tensors = features_ND / TAU, codes_KD, table_KW, lse_N, inner_N, grad_NW
        gpu.read_grad(*tensors, False)

    return timed(context, name, forward, backward)


def entropy_plainly(context, name):
    features_ND, codes_KD, *_ = of_speed(context)
    grads = [torch.randn(len(x), device=context.device) for x in (features_ND, codes_KD)]

    def forward():
        return Assignment(features_ND[None], codes_KD).entropies(ENTROPY_TAU)

    def backward(made):
        torch.autograd.grad(made, (features_ND, codes_KD), grads, retain_graph=True)

    return timed(context, name, forward, backward)


def entropy_fused(context, name, gpu):
    features_ND, codes_KD, *_ = (x.detach() for x in of_speed(context))
    grads = [torch.randn(len(x), device=context.device) for x in (features_ND, codes_KD)]

    def forward():
        return gpu.entropy(features_ND / ENTROPY_TAU, codes_KD)

    def backward(made):
        gpu.entropy_grad(features_ND / ENTROPY_TAU, codes_KD, *made[:2], *grads)

    return timed(context, name, forward, backward)


def argmax_plainly(context, name):
    features_ND, codes_KD, *_ = (x.detach() for x in of_speed(context))
    return timed(context, name, lambda: (features_ND @ codes_KD.T).argmax(-1), None)


def argmax_fused(context, name, gpu):
    features_ND, codes_KD, *_ = (x.detach() for x in of_speed(context))
    return timed(context, name, lambda: gpu.argmax(features_ND, codes_KD), None)


def speed(context):
    """{case: function} for the part `speed`: each reduction, plain and by a kernel."""
    plain = {"argmax": argmax_plainly, "entropy": entropy_plainly}
    fused = {"argmax": argmax_fused, "entropy": entropy_fused}
    for W in (32,) if context.tiny else (768, 1024):
        plain[f"read-out {W}"] = lambda c, n, w=W: read_plainly(c, n, w)
        fused[f"read-out {W}"] = lambda c, n, g, w=W: read_fused(c, n, g, w)
    found = {}
    for key in plain:
        name = f"{key}, plain"
        found[name] = lambda k=key, n=name: plain[k](context, n)
        found[f"{key}, kernel"] = needed(context, f"{key}, kernel", fused[key])
    return found
