"""Statistics of a codebook: entropy of the assignments, and use of the codes.

Training loops call these functions. Every value is a 0-d float32 tensor on the input's device. No
function waits for the device, and no gradient is kept. Legend: N tokens, K codes.
"""

from __future__ import annotations

import torch

from gear.files.mistakes import Mistake
from gear.runtime import distributed
from gear.tokenizer.assignment import Assignment

MASSES = (10, 100, 1000)


class SoftAssignment:
    """Means over all processes' tokens for p = softmax(A / temperature).

    Batches are added one by one. entropy: of p, in nats, 0 to ln K. entropy_t1: that of softmax(A).
    effective_size: exp(mean entropy), 1 to K codes. top1, top10, ...: sum of the 1, 10, ... (or
    all, if K is lower) largest probabilities. Mistake: temperature is not above 0.
    """

    def __init__(self, temperature: float):
        if not temperature > 0:
            raise Mistake(f"temperature is {temperature}; set it above 0.")
        self.temperature, self.count, self.totals = temperature, 0, 0

    @torch.no_grad()
    def add(self, assignment: Assignment, tokens: slice = slice(None)) -> None:
        """Add the tokens of a batch, or a slice of them."""
        for sums in assignment.sharpness(self.temperature, MASSES, tokens):
            self.totals = self.totals + sums
        count = assignment.features_BND[..., 0].numel()
        self.count += len(range(count)[tokens])

    def means(self) -> dict[str, torch.Tensor]:
        """{'entropy', 'effective_size', 'top1', 'top10', 'top100', 'top1000', 'entropy_t1'} of all
        tokens that were added."""
        means = self.totals / self.count
        distributed.average_([means])
        entropy, entropy_t1, *masses = means.unbind()
        named = {f"top{k}": mass for k, mass in zip((1, *MASSES), masses, strict=True)}
        first = {"entropy": entropy, "effective_size": entropy.exp()}
        return first | named | {"entropy_t1": entropy_t1}


@torch.no_grad()
def usage_stats(indices: torch.Tensor, codebook_size: int) -> dict[str, torch.Tensor]:
    """{'usage', 'usage_entropy', 'perplexity'} of the indices of all processes.

    indices: integers of any shape, each in [0, codebook_size). usage: share of codes that occur at
    least once, 0 to 1. usage_entropy: entropy of the tokens' distribution over codes, in nats, 0 to
    ln K. perplexity: exp(usage_entropy), 1 to K codes.
    Mistake: no indices, or not integers. An index out of range is an error of the device, because a
    check would wait for the device.
    """
    if indices.numel() == 0 or indices.is_floating_point() or indices.is_complex():
        raise Mistake(
            f"indices are {indices.dtype} of shape {tuple(indices.shape)}; give at least one "
            "integer code index."
        )
    index_N = indices.flatten().long()
    counts_K = index_N.new_zeros(codebook_size).scatter_add_(0, index_N, torch.ones_like(index_N))
    distributed.sum_(counts_K)
    entropy = torch.special.entr(counts_K.double() / counts_K.sum()).sum()
    return {
        "usage": (counts_K > 0).float().mean(),
        "usage_entropy": entropy.float(),
        "perplexity": entropy.exp().float(),
    }
