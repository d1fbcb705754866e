"""The return type of all quantizers."""

from typing import NamedTuple

import torch

from gear.tokenizer.assignment import Assignment


class Quantized(NamedTuple):
    code_BND: torch.Tensor  # input of the decoder, with the quantizer's gradient
    indices_BN: torch.Tensor  # code indices, argmax of A
    assignment: Assignment  # A, differentiable in encoder and codebook
    losses: dict  # codebook, commitment: 0-d tensors, not weighted
