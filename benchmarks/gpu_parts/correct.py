"""Is the arithmetic right on this device? Every case prints its error and its tolerance.

The reference is float32 on the CPU, or float64 where a formula is short enough to be written again
(correct_maths.py, kernels.py). Inputs are random and new at each run; --seed repeats one.
"""

from functools import partial

import torch

from benchmarks.gpu_parts import correct_maths, correct_networks, kernels
from benchmarks.gpu_parts.report import cases


def rows(context):
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(context.seed)
    found = correct_maths.cases(context) | kernels.correct(context)
    found |= correct_networks.cases(context)
    seeds = range(context.seed, context.seed + len(found))
    pairs = zip(seeds, found.items(), strict=True)
    yield from cases(context, {name: partial(seeded, seed, case) for seed, (name, case) in pairs})


def seeded(seed, case):
    """A case with random inputs of its own, whatever ran before it."""
    torch.manual_seed(seed)
    return case()
