"""Is the arithmetic right on this device? Every case prints its error and its tolerance.

The reference is float32 on the CPU, or float64 where a formula is short enough to be written again
(correct_maths.py). Inputs are random and new at each run.
"""

import torch

from benchmarks.gpu_parts import correct_maths, correct_networks
from benchmarks.gpu_parts.report import cases


def rows(context):
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield from cases(context, correct_maths.cases(context) | correct_networks.cases(context))
