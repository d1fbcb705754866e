"""Lookup-free quantization (MAGVIT-v2, arXiv 2310.05737; Open-MAGVIT2, 2409.04410).

- the codebook is the hypercube {-1, +1}^D, K = 2^D; channel i is bit i of the index
- A = 2 <z, c>; its argmax is the sign of each channel; commitment term only

Shapes: B images, N positions, K codes, D code width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.files.mistakes import Mistake
from gear.tokenizer.assignment import Assignment
from gear.tokenizer.fused import CubeAssignment
from gear.tokenizer.quantized import Quantized


class LFQ(nn.Module):
    forms = {"reference": Assignment, "fused": CubeAssignment}  # runtime.kernels
    form = Assignment

    def __init__(self, config):
        super().__init__()
        if config.codebook_size != 2**config.code_dim:
            raise Mistake(
                f"tokenizer.codebook_size is {config.codebook_size}, but LFQ with "
                f"tokenizer.code_dim {config.code_dim} has {2**config.code_dim} codes; set it so."
            )
        bits = torch.arange(config.code_dim)
        # (K, 1) >> (D,): row k holds the bits of k, channel i bit i
        codes = (torch.arange(config.codebook_size)[:, None] >> bits) & 1
        # not persistent: the buffers follow from D, so checkpoints do not hold them
        self.register_buffer("hypercube", codes.float() * 2 - 1, persistent=False)
        self.register_buffer("bit_values", 2**bits, persistent=False)

    def assignment(self, z_BND):
        """A (paper eq. 6) of features (B, N, D): 2 <z, c>.

        -|z - c|^2 = 2 <z, c> - |z|^2 - D. The last two terms are equal for all codes, so they
        change no softmax and are left out."""
        return self.form(z_BND.float(), self.hypercube, scale=2)

    def lookup(self, indices_BN):
        """Code vectors (B, N, D) of indices, with values -1 and +1."""
        return F.embedding(indices_BN, self.hypercube)

    def forward(self, z_BND):
        # two casts, for A and for the code: under bfloat16 their gradients are rounded separately
        # on the way to the encoder
        assignment, z_BND = self.assignment(z_BND), z_BND.float()
        # the argmax of A, computed without A: the sign of each channel
        indices_BN = ((z_BND > 0).long() * self.bit_values).sum(-1)
        code_BND = self.lookup(indices_BN)
        # the quantizer's terms of L_VQ (eq. 2): the codebook is fixed, so its term is 0
        losses = {
            "codebook": z_BND.new_zeros(()),
            "commitment": (code_BND - z_BND).square().mean(),
        }
        # the value of the code with the gradient of z, because the sign has no gradient
        through_BND = z_BND + (code_BND - z_BND).detach()
        return Quantized(through_BND, indices_BN, assignment, losses)
