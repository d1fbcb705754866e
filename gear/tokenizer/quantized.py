"""What every quantizer returns, so that no one downstream asks which one it was."""

from typing import NamedTuple

import torch


class Quantized(NamedTuple):
    code_BND: torch.Tensor  # what the decoder reads; carries the quantizer's own gradient
    indices_BN: torch.Tensor  # hard assignment, argmax of the scores
    scores_BNK: torch.Tensor  # A, float32, differentiable in encoder and codebook
    losses: dict  # codebook, commitment: 0-d, unweighted
