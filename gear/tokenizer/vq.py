"""VQ with codes and features on the unit sphere (VQ-VAE, arXiv 1711.00937; ViT-VQGAN, 2110.04627).

- A = 2 z.e - 2 on unit vectors, which is minus their squared distance, in [-4, 0]
- straight-through gradient from the decoder to the encoder; codebook and commitment terms

Shapes: B images, N positions, K codes, D code width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.tokenizer.assignment import Assignment
from gear.tokenizer.quantized import Quantized


class VQ(nn.Module):
    def __init__(self, config):
        super().__init__()
        weight = torch.empty(config.codebook_size, config.code_dim)
        weight.uniform_(-1 / config.codebook_size, 1 / config.codebook_size)
        self.codebook = nn.Parameter(F.normalize(weight, dim=-1))

    def codes(self):
        """(K, D) unit vectors. The parameter itself is free to leave the sphere."""
        return F.normalize(self.codebook.float(), dim=-1)

    def assignment(self, z_BND):
        """A (paper eq. 6) of features (B, N, D): -|z - e|^2 = 2 z.e - 2 for unit z and e."""
        return Assignment(F.normalize(z_BND.float(), dim=-1), self.codes(), scale=2, shift=-2)

    def lookup(self, indices_BN):
        """Code vectors (B, N, D) that the decoder reads."""
        return F.embedding(indices_BN, self.codes())

    def forward(self, z_BND):
        assignment = self.assignment(z_BND)
        indices_BN = assignment.hard()
        # normalised once more: the gradient of A and that of the code reach the encoder separately
        z_BND = F.normalize(z_BND.float(), dim=-1)
        code_BND = self.lookup(indices_BN)
        # the quantizer's terms of L_VQ (eq. 2): each moves one side and holds the other still
        losses = {
            "codebook": (code_BND - z_BND.detach()).square().mean(),
            "commitment": (code_BND.detach() - z_BND).square().mean(),
        }
        # the value of the code, the gradient of z: argmax has none
        through_BND = z_BND + (code_BND - z_BND).detach()
        return Quantized(through_BND, indices_BN, assignment, losses)
