"""Drawing tokens: guidance, temperature, top-k, top-p, one seed per image.

- static key-value cache, attention over the valid prefix only
- token of image i at position t: inverse of the cumulative distribution at u(seed_i, t), so that
  samples do not depend on batch size or on how many processes share the work
- logits = uncond + guidance (cond - uncond); the order is guidance, temperature, top-k, top-p

python -m gear.sampling.generate --job JSON --checkpoint DIR --output FILE.npz
"""

import argparse
import json
from dataclasses import dataclass

import numpy as np
import torch

from gear import config
from gear.ar.load import load_ar
from gear.files.aside import aside
from gear.files.mistakes import Mistake
from gear.runtime import rng
from gear.runtime.device import setup, use


@dataclass(frozen=True)
class Sampler:
    """A named way to draw images; the defaults are the paper's (Table 16)."""

    images: int
    guidance: float = 1.0
    temperature: float = 1.0
    top_k: int = 0  # 0: off
    top_p: float = 1.0  # 1: off
    labels: str = "uniform"  # uniform: each drawn at random | balanced: 0, 1, ..., 0, 1, ...
    seed: int = 0

    def __post_init__(self):
        if self.images < 1 or self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise Mistake(
                f"{self}: images must be at least 1, temperature above 0 and top_p in (0, 1]; "
                "correct the sampler in the study's file."
            )


def filtered(logits_BK, sampler):
    """Logits after temperature, top-k (ties kept) and top-p; what is ruled out is -inf."""
    logits = logits_BK.float() / sampler.temperature
    if sampler.top_k:
        least = logits.topk(min(sampler.top_k, logits.shape[-1]), -1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampler.top_p < 1:
        ordered, order = logits.sort(-1, descending=True)
        p = ordered.softmax(-1)
        ruled_out = p.cumsum(-1) - p >= sampler.top_p
        logits = logits.masked_fill(
            torch.zeros_like(ruled_out).scatter(-1, order, ruled_out), -torch.inf
        )
    return logits


def choose(logits_BK, u_B):
    """(B,) indices: the first code at which the cumulative probability exceeds u in [0, 1).

    The last code where the logits are not finite, so that a diverged run's evaluation ends too."""
    cumulative = logits_BK.double().softmax(-1).cumsum(-1)
    point = torch.as_tensor(u_B, dtype=torch.float64, device=logits_BK.device)[:, None]
    found = torch.searchsorted(cumulative, point * cumulative[:, -1:], right=True)[:, 0]
    return found.clamp_max(logits_BK.shape[-1] - 1)


@torch.no_grad()
def draw(ar, labels_B, seeds_B, sampler):
    """Tokens (B, N) int64 for labels and image seeds."""
    guided = sampler.guidance != 1.0
    labels = torch.cat([labels_B, torch.full_like(labels_B, ar.null)]) if guided else labels_B
    caches, x, tokens = ar.caches(len(labels)), ar.condition(labels), []
    for position in range(ar.length):
        logits = ar.next_logits(x, caches)
        if guided:
            cond, uncond = logits.chunk(2)
            logits = uncond + sampler.guidance * (cond - uncond)
        u = rng.uniform(("sampling",), seeds_B, np.uint64(position))
        token = choose(filtered(logits, sampler), u)
        tokens.append(token)
        x = ar.embedding(torch.cat([token, token]) if guided else token)
    return torch.stack(tokens, 1)


def draw_all(ar, labels, seeds, sampler, batch):
    """Tokens (n, N) int32 for any number of labels and image seeds, `batch` drawn at once."""
    device = ar.head.weight.device
    tokens = [
        draw(ar, torch.from_numpy(labels[i : i + batch]).to(device), seeds[i : i + batch], sampler)
        for i in range(0, len(labels), batch)
    ]
    return torch.cat(tokens).cpu().numpy().astype(np.int32)


def requests(sampler, classes):
    """(labels, seeds) of all images of a sampler, functions of its seed and the image's number."""
    number = np.arange(sampler.images, dtype=np.int64)
    seeds = number + sampler.seed * 1_000_000_000
    if sampler.labels == "balanced":
        return number % classes, seeds
    return (rng.uniform(("label",), seeds) * classes).astype(np.int64), seeds


def generate(ar, classes, sampler, batch=256):
    """{'tokens' (n, N) int32, 'labels' (n,), 'seeds' (n,)} of a whole sampler."""
    labels, seeds = requests(sampler, classes)
    tokens = draw_all(ar, labels, seeds, sampler, batch)
    return {"tokens": tokens, "labels": labels.astype(np.int32), "seeds": seeds}


def save_arrays(path, arrays):
    """An uncompressed .npz, written aside; equal arrays give equal bytes."""
    with aside(path) as part, open(part, "wb") as handle:
        np.savez(handle, **arrays)


def main():
    parser = argparse.ArgumentParser(description="Draw the samples of one sampler.")
    parser.add_argument("--job", required=True, type=json.loads)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    setup(config.build(args.job["settings"]))
    ar, settings = load_ar(args.checkpoint)
    samples = generate(ar.to(use()), settings.data.classes, Sampler(**args.job["sampler"]))
    save_arrays(args.output, samples)


if __name__ == "__main__":
    main()
