"""The AR's head and its cross-entropy, forward and backward.

    python benchmarks/head.py                # rows 8192, codes 16384, width 768

Ways: all logits at once (reference); a chunk at a time (fused); torch's linear_cross_entropy, where
this torch has it, in its chunked form. See benchmarks/beside.py for what is measured; the last line
is JSON.
"""

import torch
import torch.nn.functional as F
from beside import device, run
from torch import nn

from gear.ar.train import NTP

SIZES = {"rows": 8192, "codes": 16384, "width": 768}


def library(state_ND, head, target_N):
    options = nn.LinearCrossEntropyOptions()
    return F.linear_cross_entropy(state_ND, head.weight, target_N, options=options)


def work(loss):
    def prepare(sizes):
        head = nn.Linear(sizes["width"], sizes["codes"], bias=False).to(device())
        state = torch.randn(sizes["rows"], sizes["width"], device=device(), requires_grad=True)
        target = torch.randint(sizes["codes"], (sizes["rows"],), device=device())

        def once():
            state.grad = head.weight.grad = None
            loss(state, head, target).backward()

        return once

    return prepare


WAYS = {name: work(loss) for name, loss in NTP.items()}
if hasattr(F, "linear_cross_entropy"):
    WAYS["linear_cross_entropy"] = work(library)

if __name__ == "__main__":
    run(__file__, __doc__.splitlines()[0], WAYS, SIZES, "reference")
