"""The entropy loss (LFQ, arXiv 2310.05737): confident assignments, evenly used codes."""

import torch

from gear.runtime import distributed


def mean_over_processes(mean_K):
    """(K,) mean over all processes, with the gradient of this process's mean.

    The gradient is correct after the gradients are averaged over the processes."""
    if distributed.size() == 1:
        return mean_K
    everywhere = mean_K.detach().clone()
    distributed.average_([everywhere])
    return mean_K + (everywhere - mean_K.detach())


def entropy_loss(assignment, temperature):
    """Mean entropy of the tokens' assignments minus entropy of the mean assignment, nats.

    A 0-d tensor. assignment: an Assignment with the same number of tokens in every process. The
    mean assignment is over all processes, the mean entropy over this process."""
    entropy_N, mean_K = assignment.entropies(temperature)
    mean_K = mean_over_processes(mean_K)
    # 1e-5: the log of 0, the share of an unused code, is not finite
    return entropy_N.mean() + (mean_K * torch.log(mean_K + 1e-5)).sum()
