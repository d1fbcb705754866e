"""Index back-propagation quantization (IBQ, arXiv 2412.02692).

- A = <z, e> without normalisation; the one-hot index is straight-through in softmax(A)
- gradients reach every code; the loss pulls code and feature together through both paths. Its
  weights are the published ones: 1 on what pulls the feature, 0.25 on what pulls the code alone
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.tokenizer.quantized import Quantized


class IBQ(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(config.codebook_size, config.code_dim))

    def scores(self, z_BND):
        """A (B, N, K) in float32."""
        with torch.autocast(z_BND.device.type, enabled=False):
            return z_BND.float() @ self.codebook.float().T

    def lookup(self, indices_BN):
        """Code vectors (B, N, D)."""
        return F.embedding(indices_BN, self.codebook.float())

    def forward(self, z_BND):
        z, scores = z_BND.float(), self.scores(z_BND)
        indices, p = scores.argmax(-1), scores.softmax(-1)
        one_hot = F.one_hot(indices, p.shape[-1]).to(p.dtype)
        with torch.autocast(z.device.type, enabled=False):
            soft = (one_hot + p - p.detach()) @ self.codebook.float()
        hard = self.lookup(indices)
        losses = {
            "codebook": (soft - z).square().mean() + (hard.detach() - z).square().mean(),
            "commitment": (hard - z.detach()).square().mean(),
        }
        return Quantized(soft, indices, scores, losses)
