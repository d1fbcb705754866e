"""Inception weights as their publishers' file has them, with random numbers of a trained size."""

import math

import torch

from gear.features.inception import build
from gear.files.hashes import sha256


def state(seed=5):
    """The file's keys and shapes; every layer keeps the size of what goes through it."""
    torch.manual_seed(seed)
    found = {}
    for key, value in build().state_dict().items():
        if key.endswith("num_batches_tracked"):
            found[key] = value  # 0
        elif value.ndim > 1:
            found[key] = torch.randn(value.shape) * math.sqrt(2 / math.prod(value.shape[1:]))
        elif key.endswith(("bn.weight", "running_var")):
            found[key] = 0.7 + 0.6 * torch.rand(value.shape)
        else:
            found[key] = 0.2 * torch.randn(value.shape)
    return found


def write(path, seed=5):
    """(path, its sha256), under any name."""
    torch.save(state(seed), path)
    return path, sha256(path)
