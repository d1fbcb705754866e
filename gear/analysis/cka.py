"""Linear centred kernel alignment (Kornblith et al. 2019, arXiv 1905.00414).

CKA does not change if features are rotated or scaled, or if the samples are reordered.
Shapes: B sets at once, N samples of each, D and F widths.
"""

from __future__ import annotations

import torch

from gear.analysis.hsic import checked, hsic, normalised, same_samples, spread

LEAST = 4  # samples that the unbiased estimator needs; the biased one has the same limit


def cka(x_BND: torch.Tensor, y_BNF: torch.Tensor, estimator: str = "biased") -> torch.Tensor:
    """(B,) float64: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = x x', L = y y'.

    biased: Kornblith's estimator, in [0, 1]. It is high for few samples of wide features, even for
    independent ones. unbiased: at most 1, about 0 for independent features. nan if all samples of a
    set are equal. Mistake: fewer than 4 samples, different samples of x and y, NaN.
    """
    x_BND, y_BNF = checked(x_BND, LEAST), checked(y_BNF, LEAST)
    same_samples(x_BND, y_BNF)
    K_BNN, L_BNN = (_centred_gram(z_BND) for z_BND in (x_BND, y_BNF))
    return normalised(
        hsic(K_BNN, L_BNN, estimator),
        hsic(K_BNN, K_BNN, estimator),
        hsic(L_BNN, L_BNN, estimator),
        spread(x_BND),
        spread(y_BNF),
    )


def _centred_gram(x_BND):
    """Inner products (B, N, N) of centred features.

    Centring changes neither estimator, and it avoids cancellation of large numbers."""
    x_BND = x_BND - x_BND.mean(1, keepdim=True)
    return x_BND @ x_BND.mT
