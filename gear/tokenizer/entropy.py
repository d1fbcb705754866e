"""The entropy loss (LFQ, arXiv 2310.05737): confident assignments, evenly used codes."""

import torch

from gear.runtime import distributed


def mean_over_processes(mean_K):
    """The mean of all processes' means, with the gradient of this one's.

    That gradient is right once the gradients are averaged over the processes."""
    if distributed.size() == 1:
        return mean_K
    everywhere = mean_K.detach().clone()
    distributed.average_([everywhere])
    return mean_K + (everywhere - mean_K.detach())


def entropy_loss(scores_NK, temperature):
    """Mean entropy of each token's assignment minus the entropy of the mean assignment, in nats.

    scores_NK: A, of as many tokens in every process. Computed in float32. The mean assignment is
    over the batch of all processes, the first term over this one's."""
    log_p = (scores_NK.float() / temperature).log_softmax(-1)
    p = log_p.exp()
    sample = -(p * log_p).sum(-1).mean()
    mean = mean_over_processes(p.mean(0))
    return sample + (mean * torch.log(mean + 1e-5)).sum()
