"""Argmax, entropies and soft read-out of one assignment in one graph, forward and backward.

    python benchmarks/readout.py                # rows 8192, codes 16384, dim 8, width 768
    python benchmarks/readout.py --rows 2048

The reference holds all scores; the fused form does not. See benchmarks/beside.py for what is
measured; the last line is JSON.
"""

import torch
from beside import device, run

from gear.tokenizer.entropy import entropy_loss
from gear.tokenizer.vq import VQ

SIZES = {"rows": 8192, "codes": 16384, "dim": 8, "width": 768}
TAU, ENTROPY_TAU = 0.1, 0.01  # of the paper


class Config:
    def __init__(self, codes, dim):
        self.codebook_size, self.code_dim = codes, dim


def work(form):
    def prepare(sizes):
        quantizer = VQ(Config(sizes["codes"], sizes["dim"])).to(device())
        quantizer.form = quantizer.forms[form]
        z = torch.randn(1, sizes["rows"], sizes["dim"], device=device(), requires_grad=True)
        table = torch.randn(sizes["codes"], sizes["width"], device=device())
        grad = torch.randn(1, sizes["rows"], sizes["width"], device=device())

        def once():
            z.grad = quantizer.codebook.grad = None
            assignment = quantizer.assignment(z)
            assignment.hard()
            loss = entropy_loss(assignment, ENTROPY_TAU)
            torch.autograd.backward([assignment.read(table, TAU), loss], [grad, None])

        return once

    return prepare


WAYS = {"reference": work("reference"), "fused": work("fused")}

if __name__ == "__main__":
    run(__file__, __doc__.splitlines()[0], WAYS, SIZES, "reference")
