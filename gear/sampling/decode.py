"""Tokens to images."""

import numpy as np
import torch

from gear.data.memory import to_uint8


@torch.no_grad()
def decode(tokenizer, tokens_NT, batch=256):
    """uint8 images (N, C, H, W), on the CPU, of tokens (N, T)."""
    size = tokenizer.config.codebook_size
    tokens = torch.as_tensor(np.asarray(tokens_NT)).long()
    if tokens.numel() and int(tokens.max()) >= size:
        raise ValueError(
            f"the samples hold token {int(tokens.max())}, but this tokenizer has {size} codes; "
            "they were drawn for another tokenizer."
        )
    device = next(tokenizer.parameters()).device
    return torch.cat([to_uint8(tokenizer.decode(t.to(device))).cpu() for t in tokens.split(batch)])
