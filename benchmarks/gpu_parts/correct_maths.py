"""Read-out, entropy, head, quantizers and Fréchet distance against formulas in float64.

Shapes: N tokens, K codes, D dimensions of a code, W width of the AR.
"""

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.gpu_parts.compare import compared
from benchmarks.gpu_parts.report import row
from gear.config import Tokenizer
from gear.metrics.frechet import Stream, frechet_distance
from gear.tokenizer.assignment import Assignment
from gear.tokenizer.autoencoder import QUANTIZERS
from gear.tokenizer.entropy import entropy_loss

TAU, ENTROPY_TAU = 0.1, 0.01


def sizes(context):
    """(N, K, D, W)"""
    return (64, 128, 8, 32) if context.tiny else (2048, 16384, 8, 1024)


def gradients(loss, tensors):
    return dict(zip(("gradient 0", "gradient 1"), torch.autograd.grad(loss, tensors), strict=True))


def near_codes(codes_KD, count, distance=0.02):
    """(N, D) features near to codes, so that rounding moves no feature to another code."""
    chosen = torch.randint(len(codes_KD), (count,))
    return codes_KD[chosen] + distance * torch.randn(count, codes_KD.shape[1])


# ---- read-out, entropy, head ---------------------------------------------------------------------


def on_the_sphere(context):
    """(features (1, N, D), codes (K, D)) of VQ: A = 2 z.c - 2. Features are near to codes."""
    N, K, D, _ = sizes(context)
    codes = F.normalize(torch.randn(K, D), dim=-1)
    return F.normalize(near_codes(codes, N), dim=-1)[None], codes


def read_soft(context):
    """u = softmax(A / tau) E and its gradients to A and E (paper eq. 7, 8)."""
    N, K, _, W = sizes(context)
    z, codes = on_the_sphere(context)
    table, to = torch.randn(K, W), torch.randn(N, W)

    def run(device, dtype):
        x, c, e = (x.to(device, dtype).requires_grad_() for x in (z, codes, table))
        if dtype == torch.float64:
            a = 2 * x @ c.T - 2
            u = ((a / TAU).softmax(-1) @ e)[0]
        else:
            assignment = Assignment(x, c, 2, -2)
            a, u = assignment.scores(), assignment.read(e, TAU)[0]
        return {"u": u, **gradients((u * to.to(u)).sum(), (a, e))}

    wanted = run(torch.device("cpu"), torch.float64)
    return compared("read-out", run(context.device, torch.float32), wanted, 1e-4)


def straight_through(context):
    """The straight-through read-out: the value of argmax, the gradient of softmax."""
    N, K, _, W = sizes(context)
    z, codes = on_the_sphere(context)
    table, to = torch.randn(K, W), torch.randn(N, W)
    x, c, e = (x.to(context.device).requires_grad_() for x in (z, codes, table))
    assignment = Assignment(x, c, 2, -2)
    u = assignment.read(e, TAU, straight_through=True)[0]
    gradient = torch.autograd.grad((u * to.to(u)).sum(), assignment.scores())[0]
    found = {"u": u, "gradient": gradient[0]}
    x, c, e, to = (x.double() for x in (z[0], codes, table, to))
    a = 2 * x @ c.T - 2
    p = (a / TAU).softmax(-1)
    g = to @ e.T
    gradient = p * (g - (p * g).sum(-1, keepdim=True)) / TAU
    wanted = {"u": e[a.argmax(-1)], "gradient": gradient}
    return compared("straight-through read-out", found, wanted, 1e-4)


def entropy(context):
    """The entropy loss and its gradient (arXiv 2310.05737)."""
    z, codes = on_the_sphere(context)
    z = F.normalize(z + 0.5 * torch.randn_like(z), dim=-1)  # some of them between codes
    x, c = (x.to(context.device).requires_grad_() for x in (z, codes))
    loss = entropy_loss(Assignment(x, c, 2, -2), ENTROPY_TAU)
    found = {"loss": loss, **gradients(loss, (x, c))}
    x, c = (x.double().requires_grad_() for x in (z, codes))
    a = 2 * x[0] @ c.T - 2
    log_p = (a / ENTROPY_TAU).log_softmax(-1)
    mean = log_p.exp().mean(0)
    loss = -(log_p.exp() * log_p).sum(-1).mean() + (mean * (mean + 1e-5).log()).sum()
    wanted = {"loss": loss, **gradients(loss, (x, c))}
    return compared("entropy loss", found, wanted, 1e-4)


def head(context, precision):
    """Head and next-token loss, with gradients to the states and the head."""
    N, K, _, W = sizes(context)
    states, weight, tokens = torch.randn(N, W), torch.randn(K, W) / W**0.5, torch.randint(K, (N,))

    def run(device, dtype):
        x, w = (z.to(device, dtype).requires_grad_() for z in (states, weight))
        low = precision == "bf16" and dtype == torch.float32
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            logits = F.linear(x, w)
            logits = logits if dtype == torch.float64 else logits.float()
            loss = F.cross_entropy(logits, tokens.to(device))
        return {"loss": loss, **gradients(loss, (x, w))}

    wanted = run(torch.device("cpu"), torch.float64)
    found = run(context.device, torch.float32)
    tolerance = 1e-4 if precision == "float32" else 3e-2
    return compared(f"head and loss, {precision}", found, wanted, tolerance)


# ---- quantizers ----------------------------------------------------------------------------------


def quantizer(context, name, precision):
    """Code, indices, losses and gradients to features and codebook. Autocast must not reach it."""
    N, K, *_ = sizes(context)
    width = {"vq": 8, "lfq": K.bit_length() - 1, "ibq": 16 if context.tiny else 256}[name]
    config = Tokenizer(quantizer=name, codebook_size=K, code_dim=width)
    module = QUANTIZERS[name](config)
    if name == "ibq":
        module.codebook.data.normal_(0.0, 0.1)
    z = near_codes(module.lookup(torch.arange(K)).detach(), N, 0.002 if name == "ibq" else 0.02)

    def run(device, low):
        mine = QUANTIZERS[name](config).to(device)
        mine.load_state_dict(module.state_dict())
        x = z.to(device)[None].requires_grad_()
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            out = mine(x)
        to = torch.cos(torch.arange(out.code_BND.numel(), device=device)).view(out.code_BND.shape)
        loss = (
            (out.code_BND * to).sum() + sum(out.losses.values()) + entropy_loss(out.assignment, 1.0)
        )
        learns = [x, *mine.parameters()]
        found = torch.autograd.grad(loss, learns)
        found = {f"gradient {n}": g for n, g in enumerate(found)}
        return found | {"code": out.code_BND, "scores": out.assignment.scores()}, out.indices_BN

    wanted, indices = run(torch.device("cpu"), False)
    found, mine = run(context.device, precision == "bf16")
    same = (mine.cpu() == indices).float().mean().item()
    made = compared(f"{name}, {precision}", found, wanted, 1e-4, f"{same:.2%} of the tokens equal")
    return made if same == 1 else made | {"ok": False}


# ---- Fréchet distance ----------------------------------------------------------------------------


def frechet(context):
    """Of features from the device against the closed form for two Gaussians of known moments."""
    count, width = (256, 16) if context.tiny else (8192, 256)
    basis = torch.linalg.qr(torch.randn(count, width, dtype=torch.float64)).Q
    basis = basis - basis.mean(0)
    basis = torch.linalg.qr(basis).Q * (count - 1) ** 0.5  # mean 0, covariance 1
    scale = torch.linspace(0.5, 2.0, width, dtype=torch.float64)
    streams = Stream(), Stream()
    for part in basis.split(100):
        streams[0].add(part.float().to(context.device).cpu().numpy())
        streams[1].add((part * scale + 0.25).float().to(context.device).cpu().numpy())
    found = frechet_distance(*(stream.finish() for stream in streams))
    wanted = width * 0.25**2 + (1 - scale).square().sum().item()
    error = abs(found - wanted) / wanted
    return row("Fréchet distance", ok=bool(np.isfinite(error) and error < 1e-4), error=error)


def cases(context):
    found = {
        "read-out": lambda: read_soft(context),
        "straight-through read-out": lambda: straight_through(context),
        "entropy loss": lambda: entropy(context),
        "Fréchet distance": lambda: frechet(context),
    }
    for precision in ("float32", "bf16"):
        found[f"head and loss, {precision}"] = lambda p=precision: head(context, p)
        for name in QUANTIZERS:
            found[f"{name}, {precision}"] = lambda n=name, p=precision: quantizer(context, n, p)
    return found
