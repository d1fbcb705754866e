"""How sharply tokens choose their codes, and how many codes are in use.

Called inside training loops: every value is a 0-d float32 tensor on the input's device, nothing
waits for the device, no gradient is kept. Legend: N tokens, K codes, R rows of a chunk.
"""

from __future__ import annotations

import torch

from gear.files.mistakes import Mistake
from gear.runtime import distributed

ROWS = 1024  # tokens per chunk: 64 MiB of float32 for each temporary at K = 16384


@torch.no_grad()
def soft_assignment_stats(scores_NK: torch.Tensor, temperature: float) -> dict[str, torch.Tensor]:
    """Means over all processes' tokens for p = softmax(scores / temperature), computed in float32.

    entropy: of p, in nats, 0 to ln K. effective_size: exp(mean entropy), 1 to K codes.
    top1, top10: sum of the 1 or 10 (or all, if K < 10) largest probabilities.
    Mistake: scores are not (N, K) with N and K at least 1, temperature is not above 0.
    """
    stats = SoftAssignment(temperature)
    stats.add(scores_NK)
    return stats.means()


class SoftAssignment:
    """`soft_assignment_stats` of scores that come a batch at a time."""

    def __init__(self, temperature: float):
        if not temperature > 0:
            raise Mistake(f"temperature is {temperature}; set it above 0.")
        self.temperature, self.count, self.total_3 = temperature, 0, None

    @torch.no_grad()
    def add(self, scores_NK: torch.Tensor) -> None:
        if scores_NK.ndim != 2 or scores_NK.numel() == 0:
            raise Mistake(
                f"scores have shape {tuple(scores_NK.shape)}, expected (tokens, codes) with at "
                "least one of each; flatten batch and positions."
            )
        if self.total_3 is None:
            self.total_3 = scores_NK.new_zeros(3, dtype=torch.float32)
        for scores_RK in scores_NK.split(ROWS):
            logp_RK = torch.log_softmax(scores_RK.float() / self.temperature, dim=1)
            p_RK = logp_RK.exp()
            top_R10 = p_RK.topk(min(10, p_RK.shape[1]), dim=1).values
            entropy = -(p_RK * logp_RK).sum()
            self.total_3 += torch.stack([entropy, top_R10[:, 0].sum(), top_R10.sum()])
        self.count += len(scores_NK)

    def means(self) -> dict[str, torch.Tensor]:
        mean_3 = self.total_3 / self.count
        distributed.average_([mean_3])
        entropy, top1, top10 = mean_3.unbind()
        return {"entropy": entropy, "effective_size": entropy.exp(), "top1": top1, "top10": top10}


@torch.no_grad()
def usage_stats(indices: torch.Tensor, codebook_size: int) -> dict[str, torch.Tensor]:
    """Codes hit by integer `indices` of any shape, each in [0, codebook_size), of all processes.

    usage: share of the codes hit at least once, 0 to 1. usage_entropy: of the share of tokens per
    code, in nats, 0 to ln K. perplexity: exp(usage_entropy), 1 to K codes.
    Mistake: no indices, or not integers. An index out of range is the device's own error, since
    looking for one would wait for the device.
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
