"""Pictures of a user's prompts: their seeds."""

from collections import Counter

import numpy as np

from gear.runtime import rng


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
