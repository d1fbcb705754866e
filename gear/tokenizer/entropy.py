"""The entropy loss (LFQ, arXiv 2310.05737): confident assignments, evenly used codes."""

import torch


def entropy_loss(scores_NK, temperature):
    """Mean entropy of each token's assignment minus the entropy of the mean assignment, in nats.

    scores_NK: A, float32. The mean over tokens is over this process's batch."""
    log_p = (scores_NK / temperature).log_softmax(-1)
    p = log_p.exp()
    sample = -(p * log_p).sum(-1).mean()
    mean = p.mean(0)
    return sample + (mean * torch.log(mean + 1e-5)).sum()
