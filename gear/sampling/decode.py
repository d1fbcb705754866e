"""Tokens to images."""

import numpy as np
import torch

from gear.data.memory import to_uint8
from gear.files.mistakes import Mistake


def decode(tokenizer, tokens_NT, batch=256):
    """uint8 images (N, C, H, W), on the CPU, of tokens (N, T)."""
    return torch.cat([images.cpu() for images in decoded(tokenizer, tokens_NT, batch)])


def decoded(tokenizer, tokens_NT, batch=256):
    """The same images, `batch` a time, on the tokenizer's device: all of them may be too many."""
    return map(to_uint8, decoded_floats(tokenizer, tokens_NT, batch))


@torch.no_grad()
def decoded_floats(tokenizer, tokens_NT, batch=256):
    """The same before they are rounded to 8 bits: float (n, C, H, W), not clamped."""
    size = tokenizer.config.codebook_size
    tokens = torch.as_tensor(np.asarray(tokens_NT)).long()
    if tokens.numel() and int(tokens.max()) >= size:
        raise Mistake(
            f"the samples hold token {int(tokens.max())}, but this tokenizer has {size} codes; "
            "they were drawn for another tokenizer."
        )
    device = next(tokenizer.parameters()).device
    for part in tokens.split(batch):
        yield tokenizer.decode(part.to(device))
