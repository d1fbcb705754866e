"""Two sets of features that are alike in part, for the similarities of gear/analysis."""

import torch


def features(sets=3, samples=12, widths=(5, 7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(sets, samples, d, generator=generator) for d in widths)
    return x, y + torch.cat([x, x], -1)[..., : widths[1]]
