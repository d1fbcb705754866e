"""What every quantizer returns, so that no one downstream asks which one it was."""

from typing import NamedTuple

import torch

from gear.tokenizer.assignment import Assignment


class Quantized(NamedTuple):
    code_BND: torch.Tensor  # what the decoder reads; carries the quantizer's own gradient
    indices_BN: torch.Tensor  # hard assignment, argmax of A
    assignment: Assignment  # A, differentiable in encoder and codebook
    losses: dict  # codebook, commitment: 0-d, unweighted
