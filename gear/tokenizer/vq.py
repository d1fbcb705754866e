"""VQ with codes and features on the unit sphere (VQ-VAE, arXiv 1711.00937; ViT-VQGAN, 2110.04627).

- A = 2 z.e - 2 on unit vectors, which is minus their squared distance, in [-4, 0]
- straight-through gradient from the decoder to the encoder; codebook and commitment terms
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.tokenizer.quantized import Quantized


class VQ(nn.Module):
    def __init__(self, config):
        super().__init__()
        weight = torch.empty(config.codebook_size, config.code_dim)
        weight.uniform_(-1 / config.codebook_size, 1 / config.codebook_size)
        self.codebook = nn.Parameter(F.normalize(weight, dim=-1))

    def codes(self):
        """(K, D) unit vectors."""
        return F.normalize(self.codebook.float(), dim=-1)

    def scores(self, z_BND):
        """A (B, N, K) in float32 (paper eq. 6)."""
        with torch.autocast(z_BND.device.type, enabled=False):
            return 2 * F.normalize(z_BND.float(), dim=-1) @ self.codes().T - 2

    def lookup(self, indices_BN):
        """Code vectors (B, N, D) that the decoder reads."""
        return F.embedding(indices_BN, self.codes())

    def forward(self, z_BND):
        scores = self.scores(z_BND)
        indices = scores.argmax(-1)
        z = F.normalize(z_BND.float(), dim=-1)
        code = self.lookup(indices)
        losses = {
            "codebook": (code - z.detach()).square().mean(),
            "commitment": (code.detach() - z).square().mean(),
        }
        return Quantized(z + (code - z).detach(), indices, scores, losses)
