"""Lookup-free quantization (MAGVIT-v2, arXiv 2310.05737; Open-MAGVIT2, 2409.04410).

- the codebook is the hypercube {-1, +1}^D, K = 2^D; channel i is bit i of the index
- A = 2 <z, c>; its argmax is the sign of each channel; commitment term only
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.files.mistakes import Mistake
from gear.tokenizer.quantized import Quantized


class LFQ(nn.Module):
    def __init__(self, config):
        super().__init__()
        if config.codebook_size != 2**config.code_dim:
            raise Mistake(
                f"tokenizer.codebook_size is {config.codebook_size}, but LFQ with "
                f"tokenizer.code_dim {config.code_dim} has {2**config.code_dim} codes; set it so."
            )
        bits = torch.arange(config.code_dim)
        codes = (torch.arange(config.codebook_size)[:, None] >> bits) & 1
        self.register_buffer("hypercube", codes.float() * 2 - 1, persistent=False)
        self.register_buffer("bit_values", 2**bits, persistent=False)

    def scores(self, z_BND):
        """A (B, N, K) in float32."""
        with torch.autocast(z_BND.device.type, enabled=False):
            return 2 * z_BND.float() @ self.hypercube.T

    def lookup(self, indices_BN):
        """Code vectors (B, N, D) of -1 and +1."""
        return F.embedding(indices_BN, self.hypercube)

    def forward(self, z_BND):
        z = z_BND.float()
        indices = ((z > 0).long() * self.bit_values).sum(-1)
        code = self.lookup(indices)
        losses = {
            "codebook": z.new_zeros(()),
            "commitment": (code - z).square().mean(),
        }
        return Quantized(z + (code - z).detach(), indices, self.scores(z_BND), losses)
