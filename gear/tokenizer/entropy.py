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


def entropy_loss(assignment, temperature):
    """Mean entropy of each token's assignment minus the entropy of the mean assignment, in nats.

    assignment: an Assignment of as many tokens in every process. The mean assignment is over the
    batch of all processes, the first term over this one's."""
    entropy_N, mean_K = assignment.entropies(temperature)
    mean_K = mean_over_processes(mean_K)
    # 1e-5: a code that nobody chose has no log
    return entropy_N.mean() + (mean_K * torch.log(mean_K + 1e-5)).sum()
