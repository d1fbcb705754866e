"""Index back-propagation quantization (IBQ, arXiv 2412.02692).

- A = <z, e> without normalisation; the code is read by the one-hot index with the gradient of
  softmax(A), so gradients reach every code
- the loss moves code and feature towards each other. Weights as published: 1 on the terms that move
  the feature, 0.25 on the term that moves only the code

Shapes: B images, N positions, K codes, D code width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.tokenizer.assignment import Assignment
from gear.tokenizer.fused import FusedAssignment
from gear.tokenizer.quantized import Quantized


class IBQ(nn.Module):
    forms = {"reference": Assignment, "fused": FusedAssignment}  # runtime.kernels
    form = Assignment

    def __init__(self, config):
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(config.codebook_size, config.code_dim))

    def assignment(self, z_BND):
        """A (paper eq. 6) of features (B, N, D)."""
        return self.form(z_BND.float(), self.codebook.float())

    def lookup(self, indices_BN):
        """Code vectors (B, N, D) of indices."""
        return F.embedding(indices_BN, self.codebook.float())

    def forward(self, z_BND):
        z_BND, assignment = z_BND.float(), self.assignment(z_BND)
        indices_BN = assignment.hard()
        # the codebook is read at temperature 1: the value is the chosen row, the gradient reaches
        # every row. In float32, as A is
        with torch.autocast(z_BND.device.type, enabled=False):
            soft_BND = assignment.read(self.codebook.float(), 1, straight_through=True)
        hard_BND = self.lookup(indices_BN)
        # the quantizer's terms of L_VQ (eq. 2): the soft term moves feature and codes, the first
        # hard term moves the feature to its code, and the commitment moves the code to its feature
        losses = {
            "codebook": (soft_BND - z_BND).square().mean()
            + (hard_BND.detach() - z_BND).square().mean(),
            "commitment": (hard_BND - z_BND.detach()).square().mean(),
        }
        return Quantized(soft_BND, indices_BN, assignment, losses)
