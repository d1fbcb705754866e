"""The joint training step of GEAR on one page, in float64: what the trainer is compared with.

Written from the paper (eq. 2 to 12, Tables 15 and 16) and from a description of the published step,
with tensors and autograd alone. It imports nothing of gear and keeps to the formulas: every A,
every probability and every moment is a tensor that is made where it is used.

A network is its weights {name: tensor}. Encoder, decoder, teacher and the perceptual distance are
given as functions, because they are no part of what the paper adds. Dropout multiplies by its keep
rate instead of drawing, in the trainer too, so that its places show and nothing is random.

Shapes: B images, N positions, K codes, D code width, W width of the AR, S = N positions it reads.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class Recipe:
    """The paper's numbers; where it gives none, those of the published code."""

    quantizer: str = "vq"
    l1: float = 1.0  # eq. 2
    lpips: float = 0.1
    gan: float = 0.1
    entropy: float = 0.05
    entropy_temperature: float = 0.01
    commitment: float = 0.25
    codebook: float = 1.0
    tau: float = 0.1  # eq. 7
    straight_through: bool = False  # the row "w/ STE": hard values, soft gradients,
    ntp_to_tokenizer: bool = False  # and next-token prediction for the tokenizer too
    lam: float = 0.5  # eq. 11, 12
    lam_tokenizer: float | None = None  # None: the same
    layer: int = 2  # whose output is aligned, from 1
    heads: int = 2
    side: int = 4  # sqrt(N)
    dropout: float = 0.1
    null: int = 10  # the class that stands for no class
    rate: float = 1e-4
    warmup: int = 1
    betas: tuple = (0.9, 0.999)
    eps: float = 1e-8
    clip: float = 1.0
    ema: float = 0.9999


def sg(x):
    """Stop-gradient."""
    return x.detach()


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def mse(a, b):
    return (a - b).square().mean()


# ---- quantizers: z (B, N, D), codes e (K, D) -> A (eq. 6), q (B, N), what is decoded, losses


def vq(z, e):
    z, e = unit(z), unit(e)
    distance = (z[:, :, None] - e).square().sum(-1)
    q = distance.argmin(-1)
    code = e[q]
    return -distance, q, z + sg(code - z), mse(code, sg(z)), mse(sg(code), z)


def lfq(z, e):
    del e  # all corners of the cube {-1, 1}^D; channel i is bit i
    D = z.shape[-1]
    corners = torch.tensor([[1.0 if k >> i & 1 else -1.0 for i in range(D)] for k in range(2**D)])
    corners = corners.to(z)
    code = torch.where(z > 0, 1.0, -1.0).to(z)
    q = sum((code[..., i] > 0).long() << i for i in range(D))
    return 2 * z @ corners.T, q, z + sg(code - z), z.new_zeros(()), mse(z, code)


def ibq(z, e):
    A = z @ e.T
    p, q = A.softmax(-1), A.argmax(-1)
    hard = F.one_hot(q, len(e)).to(z)
    index = hard + p - sg(p)  # one-hot, with the gradient of p
    return A, q, index @ e, mse(index @ e, z) + mse(sg(hard @ e), z), mse(hard @ e, sg(z))


QUANTIZERS = {"vq": vq, "lfq": lfq, "ibq": ibq}


def entropy(p):
    """Of each row, in nats."""
    return -torch.special.xlogy(p, p).sum(-1)


def entropy_loss(A, temperature):
    """How unsure each token is, minus how many codes all of them use."""
    p = (A / temperature).softmax(-1).flatten(0, 1)
    mean = p.mean(0)
    return entropy(p).mean() + (mean * (mean + 1e-5).log()).sum()


# ---- the transformer, its projector, the alignment (eq. 4, 5) ----------------------------------


def rms(x, weight):
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def angles(side, width):
    """(1 + N, width / 2): 0 for the label, row and column times the frequencies for a cell."""
    frequency = 10000.0 ** (-2 * torch.arange(width // 4, dtype=torch.float64) / (width // 2))
    cell = torch.arange(side**2)
    turns = torch.cat([(cell // side)[:, None] * frequency, (cell % side)[:, None] * frequency], 1)
    return torch.cat([torch.zeros(1, width // 2, dtype=torch.float64), turns])


def turned(x_BSHd, side):
    angle = angles(side, x_BSHd.shape[-1])[: x_BSHd.shape[1], None]
    even, odd = x_BSHd[..., 0::2], x_BSHd[..., 1::2]
    pair = even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()
    return torch.stack(pair, -1).flatten(-2)


def transformer(w, recipe, u, labels, training):
    """(logits (B, N, K), output of the aligned block (B, N, W)) of N - 1 embedded tokens u."""
    keep = 1 - recipe.dropout if training else 1
    x = torch.cat([w["condition.weight"][labels][:, None], u], 1) * keep
    B, S, W = x.shape
    future = torch.ones(S, S, dtype=torch.bool).triu(1)
    tap, blocks = None, len([name for name in w if name.endswith(".qkv.weight")])
    for number in range(blocks):
        block = f"blocks.{number}."
        h = rms(x, w[block + "attention_norm.weight"]) @ w[block + "qkv.weight"].T
        q, k, v = (part.reshape(B, S, recipe.heads, -1) for part in h.split(W, -1))
        q, k = turned(q, recipe.side), turned(k, recipe.side)
        scores = torch.einsum("bthd,bshd->bhts", q, k) / (W / recipe.heads) ** 0.5
        h = torch.einsum("bhts,bshd->bthd", scores.masked_fill(future, -torch.inf).softmax(-1), v)
        x = x + h.reshape(B, S, W) @ w[block + "attention_out.weight"].T * keep
        h = rms(x, w[block + "mlp_norm.weight"]) @ w[block + "gate_up.weight"].T
        gate, up = h.chunk(2, -1)
        x = x + (gate * gate.sigmoid() * up) @ w[block + "down.weight"].T * keep
        if number + 1 == recipe.layer:
            tap = x
    return rms(x, w["norm.weight"]) @ w["head.weight"].T, tap


def alignment(w, tap, target):
    """Minus the mean cosine of the projected states and the teacher's features."""
    h = tap
    for layer in ("0", "2", "4"):
        h = h * h.sigmoid() if layer != "0" else h
        h = h @ w[f"projector.{layer}.weight"].T + w[f"projector.{layer}.bias"]
    return -(unit(h) * unit(target)).sum(-1).mean()


# ---- the discriminator -------------------------------------------------------------------------


def discriminate(w, statistics, x):
    """One logit per patch. BatchNorm by the batch itself, whose statistics are averaged."""
    h = F.leaky_relu(F.conv2d(x, w["0.weight"], w["0.bias"], 2, 1), 0.2)
    last = max(int(name.split(".")[0]) for name in w)
    for at in range(2, last, 3):
        h = F.conv2d(h, w[f"{at}.weight"], None, 1 if at + 3 == last else 2, 1)
        mean = h.mean((0, 2, 3))
        var = (h - mean[:, None, None]).square().mean((0, 2, 3))
        count = h.numel() / h.shape[1]
        for name, new in (("running_mean", mean), ("running_var", var * count / (count - 1))):
            old = statistics[f"{at + 1}.{name}"]
            statistics[f"{at + 1}.{name}"] = 0.9 * old + 0.1 * sg(new)
        h = (h - mean[:, None, None]) / (var + 1e-5).sqrt()[:, None, None]
        h = h * w[f"{at + 1}.weight"][:, None, None] + w[f"{at + 1}.bias"][:, None, None]
        h = F.leaky_relu(h, 0.2)
    return F.conv2d(h, w[f"{last}.weight"], w[f"{last}.bias"], 1, 1)


# ---- the step ----------------------------------------------------------------------------------


class Adam:
    """AdamW without weight decay for one network; its gradient is clipped, its rate warmed up."""

    def __init__(self, recipe, weights):
        self.recipe, self.weights, self.moments, self.count = recipe, weights, {}, 0

    def update(self, loss):
        """The gradient's norm. All other networks are constants: no gradient is asked of them."""
        names, leaves = zip(*self.weights.items(), strict=True)
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        found = {n: g for n, g in zip(names, gradients, strict=True) if g is not None}
        norm = sum(g.square().sum() for g in found.values()).sqrt()
        scale = min(1.0, self.recipe.clip / (norm.item() + 1e-6))
        rate = self.recipe.rate * min(1.0, self.count / self.recipe.warmup)
        self.count += 1
        (b1, b2), t = self.recipe.betas, self.count
        with torch.no_grad():
            for name, g in found.items():
                m, v = self.moments.get(name, (0.0, 0.0))
                g = scale * g
                m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g.square()
                self.moments[name] = m, v
                step = m / (1 - b1**t) / ((v / (1 - b2**t)).sqrt() + self.recipe.eps)
                self.weights[name] -= rate * step
        return norm


class Joint:
    """tokenizer, discriminator, ar: {name: leaf}; the projector's are in ar, as projector.<name>.
    encode: images -> z (B, N, D); decode: codes (B, N, D) -> images, both on the leaves of
    `tokenizer`, among which is quantizer.codebook. see: images -> the teacher's features."""

    def __init__(self, recipe, tokenizer, discriminator, statistics, ar, functions):
        self.recipe, self.tokenizer, self.discriminator = recipe, tokenizer, discriminator
        self.statistics, self.ar = statistics, ar
        self.encode, self.decode, self.see, self.perceive = functions
        networks = {"tokenizer": tokenizer, "discriminator": discriminator, "ar": ar}
        self.adam = {name: Adam(recipe, weights) for name, weights in networks.items()}
        averaged = {n: w for n, w in ar.items() if not n.startswith("projector.")}
        self.live = {"tokenizer": tokenizer, "ar": averaged}
        self.average = {
            name: {n: sg(w).clone() for n, w in weights.items()}
            for name, weights in self.live.items()
        }

    def critic(self, x):
        return discriminate(self.discriminator, self.statistics, x)

    def guidance(self, A, labels, target):
        """What the AR tells the tokenizer, through A alone: no dropout, and no label is dropped."""
        recipe, found = self.recipe, {}
        s = (A / recipe.tau).softmax(-1)
        if recipe.straight_through:
            s = F.one_hot(A.argmax(-1), A.shape[-1]).to(A) + s - sg(s)
        u = s[:, :-1] @ self.ar["embedding.weight"]  # nothing comes after the last token
        logits, tap = transformer(self.ar, recipe, u, labels, training=False)
        found["align_tokenizer"] = alignment(self.ar, tap, target)
        lam = recipe.lam if recipe.lam_tokenizer is None else recipe.lam_tokenizer
        loss = lam * found["align_tokenizer"]
        if recipe.ntp_to_tokenizer:
            found["ntp_tokenizer"] = -(s * logits.log_softmax(-1)).sum(-1).mean()
            loss = loss + found["ntp_tokenizer"]
        return loss, found

    def step(self, x, labels, dropped):
        """{loss: value}. dropped: whose label the AR's own update does not see."""
        recipe, target = self.recipe, sg(self.see(x))
        quantizer = QUANTIZERS[recipe.quantizer]
        codes = self.tokenizer.get("quantizer.codebook")
        A, q, code, codebook, commitment = quantizer(self.encode(x), codes)
        recon = self.decode(code)
        found = self.diagnostics(A, q)

        # tokenizer: L_VQ (eq. 2) and the guidance of the AR (eq. 11)
        found |= {"l1": (recon - x).abs().mean(), "lpips": self.perceive(recon, x).mean()}
        found |= {"gan": -self.critic(recon).mean(), "codebook": codebook}
        found |= {"commitment": commitment}
        found["entropy_loss"] = entropy_loss(A, recipe.entropy_temperature)
        guidance, more = self.guidance(A, labels, target)
        terms = ("l1", "lpips", "gan", "codebook", "commitment")
        total = sum(getattr(recipe, name) * found[name] for name in terms)
        found["total"] = total + recipe.entropy * found["entropy_loss"] + guidance
        found |= more
        found["grad_tokenizer"] = self.adam["tokenizer"].update(found["total"])

        # discriminator: hinge, real and fake in a batch of their own, on the same reconstruction
        real, fake = self.critic(x), self.critic(sg(recon))
        found["disc"] = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
        found["grad_disc"] = self.adam["discriminator"].update(found["disc"])

        # AR and projector: L_NTP and alignment (eq. 12), on the tokens from before the update
        seen = torch.where(dropped, recipe.null, labels)
        u = self.ar["embedding.weight"][q[:, :-1]]
        logits, tap = transformer(self.ar, recipe, u, seen, training=True)
        found["ntp"] = -logits.log_softmax(-1).gather(-1, q[..., None]).mean()
        found["align_ar"] = alignment(self.ar, tap, target)
        loss = found["ntp"] + recipe.lam * found["align_ar"]
        found["grad_ar"] = self.adam["ar"].update(loss)
        self.follow()
        return {name: value.item() for name, value in found.items()}

    def follow(self):
        """The averages, after all updates."""
        for name, weights in self.live.items():
            for n, w in weights.items():
                old = self.average[name][n]
                self.average[name][n] = self.recipe.ema * old + (1 - self.recipe.ema) * sg(w)

    @torch.no_grad()
    def diagnostics(self, A, q):
        """How sharply tokens choose (Figure 4), at tau and at 1; how many codes a batch uses."""
        p = (A / self.recipe.tau).softmax(-1)
        likely = p.sort(-1, descending=True).values
        found = {f"top{k}": likely[..., :k].sum(-1).mean() for k in (1, 10, 100, 1000)}
        found["entropy"] = entropy(p).mean()
        found["effective_size"] = found["entropy"].exp()
        found["entropy_t1"] = entropy(A.softmax(-1)).mean()
        found["usage"] = torch.tensor(len(q.unique()) / A.shape[-1])
        return found
