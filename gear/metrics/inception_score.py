"""Inception score: how confident and how varied a classifier's predictions are.

Salimans et al. 2016, arXiv 1606.03498. Legend: N images, C classes.
"""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from gear.files.mistakes import Mistake


def inception_score(probs_NC, splits: int = 1, split_size: int | None = None) -> float:
    """exp(mean over images of KL(p(y|x) || p(y))), between 1 and C; higher is better.

    Computed in float64. The score is the mean over consecutive parts of the images: `splits` equal
    parts, or parts of `split_size` images (ADM evaluator: 5000; the last part may be smaller). p(y)
    is the mean of p(y|x) over a part.
    probs_NC: class probabilities (N, C), each row sums to 1.
    Mistake: no probabilities, splits that do not fit, both ways of splitting at once.
    """
    p_NC = np.asarray(probs_NC, dtype=np.float64)
    if p_NC.ndim != 2 or 0 in p_NC.shape:
        raise Mistake(
            f"probabilities have shape {p_NC.shape}, expected (images, classes) with at least one "
            "of each; give one row per image."
        )
    # NaN fails both comparisons, so it also ends here.
    if not ((p_NC >= 0).all() and (np.abs(p_NC.sum(axis=1) - 1.0) < 1e-3).all()):
        raise Mistake(
            "the inception score needs rows of probabilities that sum to 1 without NaN; apply "
            "softmax to the logits."
        )
    sized = split_size is not None
    if (sized and (splits != 1 or split_size < 1)) or not 1 <= splits <= len(p_NC):
        raise Mistake(
            f"splits is {splits} and split_size {split_size} for {len(p_NC)} images; give splits "
            "from 1 to the number of images, or split_size from 1 up and no splits."
        )
    if sized:
        edges = [*range(0, len(p_NC), split_size), len(p_NC)]
    else:
        edges = [i * len(p_NC) // splits for i in range(splits + 1)]
    parts = [p_NC[i:j] for i, j in zip(edges[:-1], edges[1:], strict=True)]
    return float(np.mean([np.exp(_mean_divergence(part_NC)) for part_NC in parts]))


def _mean_divergence(p_NC: np.ndarray) -> float:
    """Mean KL divergence of the rows from their mean, in nats; 0 log 0 = 0."""
    return rel_entr(p_NC, p_NC.mean(axis=0)).sum(axis=1).mean()
