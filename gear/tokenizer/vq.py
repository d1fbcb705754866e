"""VQ with codes and features on the unit sphere (VQ-VAE, arXiv 1711.00937; ViT-VQGAN, 2110.04627).

- A = 2 z.e - 2 on unit vectors: minus their squared distance, in [-4, 0]
- straight-through gradient from the decoder to the encoder; codebook and commitment terms

Shapes: B images, N positions, K codes, D code width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.tokenizer.assignment import Assignment
from gear.tokenizer.fused import FusedAssignment
from gear.tokenizer.quantized import Quantized


class VQ(nn.Module):
    forms = {"reference": Assignment, "fused": FusedAssignment}  # runtime.kernels
    form = Assignment

    def __init__(self, config):
        super().__init__()
        weight = torch.empty(config.codebook_size, config.code_dim)
        weight.uniform_(-1 / config.codebook_size, 1 / config.codebook_size)
        self.codebook = nn.Parameter(F.normalize(weight, dim=-1))

    def codes(self):
        """(K, D) unit vectors. The parameter itself may have any length."""
        return F.normalize(self.codebook.float(), dim=-1)

    def assignment(self, z_BND):
        """A (paper eq. 6) of features (B, N, D).

        A = -|z - e|^2 = 2 z.e - 2 for unit vectors z and e."""
        return self.form(F.normalize(z_BND.float(), dim=-1), self.codes(), scale=2, shift=-2)

    def lookup(self, indices_BN):
        """Code vectors (B, N, D) of indices, the input of the decoder."""
        return F.embedding(indices_BN, self.codes())

    def forward(self, z_BND):
        assignment = self.assignment(z_BND)
        indices_BN = assignment.hard()
        # normalised a second time: the gradients of A and of the code reach the encoder separately
        z_BND = F.normalize(z_BND.float(), dim=-1)
        code_BND = self.lookup(indices_BN)
        # the quantizer's terms of L_VQ (eq. 2): the first moves the code, the second the feature
        losses = {
            "codebook": (code_BND - z_BND.detach()).square().mean(),
            "commitment": (code_BND.detach() - z_BND).square().mean(),
        }
        # the value of the code with the gradient of z, because argmax has no gradient
        through_BND = z_BND + (code_BND - z_BND).detach()
        return Quantized(through_BND, indices_BN, assignment, losses)
