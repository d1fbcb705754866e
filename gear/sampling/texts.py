"""Pictures of a user's prompts: their seeds, and how many of them are drawn at once."""

from collections import Counter

import numpy as np
import torch

from gear.runtime import rng

MOST = {"cuda": 4096, "cpu": 256}  # pictures at once; more are not faster
SHARE = 0.6  # of the free memory
COPIES = 6  # float64 copies of the logits while a token is chosen
WIDTHS = 16  # numbers that the widest layers hold at once for a position, in units of the width D


def seeds(texts, count, seed):
    """(numbers (N,), seeds (N,)) int64: text by text, `count` pictures of each.

    Picture j of a text is a function of (seed, text, j). If a text comes again, j goes on counting,
    so that it gets other pictures."""
    seen, found = Counter(), []
    for text in texts:
        base = rng.seed_of("prompt", seed, text) >> 1  # so that adding j stays in 63 bits
        found.append(base + seen[text] + np.arange(count, dtype=np.int64))
        seen[text] += count
    return np.repeat(np.arange(len(texts)), count), np.concatenate(found)


def bytes_of_one(ar, slots, guided):
    """About how many bytes the drawing of one picture needs; slots: of the longest caption."""
    config, length = ar.config, slots + ar.length
    weight = ar.embedding.weight
    cache = 2 * config.layers * length * config.dim * weight.element_size()
    prefill = slots * WIDTHS * config.dim * weight.element_size() + length**2
    logits = 8 * COPIES * weight.shape[0]
    return (2 if guided else 1) * (cache + prefill + logits)


def free(device):
    """Bytes of memory that are free on a torch.device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with open("/proc/meminfo", encoding="ascii") as file:
        found = dict(line.split(":") for line in file)
    return 1024 * int(found["MemAvailable"].split()[0])


def fitting(ar, slots, guided):
    """The largest power of two of pictures that fit into memory at once, at least 1."""
    device = ar.head.weight.device
    fit = SHARE * free(device) / bytes_of_one(ar, slots, guided)
    return 2 ** int(np.log2(np.clip(fit, 1, MOST[device.type])))
