"""The Hilbert-Schmidt independence criterion (HSIC), used by CKA and CKNNA.

Shapes: B sets at once (such as images), N samples of each (such as positions), D width; float64.
"""

from __future__ import annotations

import torch

from gear.files.mistakes import Mistake

ESTIMATORS = ("biased", "unbiased")
FLAT = 1e-20  # share of the energy below which samples are equal up to rounding
TINY = 1e-24  # ratio to the squared spread below which a self-similarity is 0 up to rounding


def checked(x_BND: torch.Tensor, least: int) -> torch.Tensor:
    """The features in float64. Mistake: not (B, N, D), N below `least`, NaN or infinity."""
    if x_BND.ndim != 3 or x_BND.numel() == 0:
        raise Mistake(
            f"features have shape {tuple(x_BND.shape)}; give (sets, samples, width) with at least "
            "one of each, such as x[None] for one set."
        )
    if x_BND.shape[1] < least:
        raise Mistake(
            f"there are {x_BND.shape[1]} samples to compare and it takes {least}; use more images, "
            "or at patch level images with more tokens."
        )
    if not bool(x_BND.isfinite().all()):
        raise Mistake(
            "features hold NaN or infinite values; the checkpoint diverged, so train it again or "
            "leave it out."
        )
    return x_BND.double()


def same_samples(x_BND: torch.Tensor, y_BNF: torch.Tensor) -> None:
    """Mistake: different numbers of sets or samples."""
    if x_BND.shape[:2] != y_BNF.shape[:2]:
        raise Mistake(
            f"features of {tuple(x_BND.shape[:2])} and {tuple(y_BNF.shape[:2])} sets and samples "
            "cannot be compared; the teacher's patch grid must be the token grid."
        )


def spread(x_BND: torch.Tensor) -> torch.Tensor:
    """(B,) sum of squares about the mean; nan if all samples of a set are equal."""
    sum_B = (x_BND - x_BND.mean(1, keepdim=True)).square().sum((1, 2))
    return sum_B.masked_fill(sum_B <= FLAT * x_BND.square().sum((1, 2)), torch.nan)


def hsic(K_BNN: torch.Tensor, L_BNN: torch.Tensor, estimator: str) -> torch.Tensor:
    """(B,) HSIC of two kernels, N at least 4. Mistake: an unknown estimator.

    biased: tr(K H L H) / (N - 1)^2 (Gretton et al. 2005, doi 10.1007/11564089_7).
    unbiased: eq. 5 of Song et al. 2012 (JMLR 13:1393), diagonals left out.
    """
    n = K_BNN.shape[-1]
    if estimator == "biased":
        rows, columns = K_BNN.mean(2, keepdim=True), K_BNN.mean(1, keepdim=True)
        centred = K_BNN - rows - columns + rows.mean(1, keepdim=True)  # H K H
        return (centred * L_BNN.mT).sum((1, 2)) / (n - 1) ** 2
    if estimator != "unbiased":
        raise Mistake(f"HSIC cannot be '{estimator}'; it is {' or '.join(ESTIMATORS)}.")
    itself = torch.eye(n, dtype=torch.bool, device=K_BNN.device)
    K_BNN, L_BNN = K_BNN.masked_fill(itself, 0.0), L_BNN.masked_fill(itself, 0.0)
    trace = (K_BNN * L_BNN.mT).sum((1, 2))
    sums = K_BNN.sum((1, 2)) * L_BNN.sum((1, 2)) / ((n - 1) * (n - 2))
    paths = 2 * (K_BNN.sum(1) * L_BNN.sum(2)).sum(1) / (n - 2)  # 1' K L 1
    return (trace + sums - paths) / (n * (n - 3))


def normalised(kl_B, kk_B, ll_B, spread_x_B, spread_y_B):
    """(B,) kl / sqrt(kk ll); nan if x or y does not vary."""
    defined = (kk_B > TINY * spread_x_B.square()) & (ll_B > TINY * spread_y_B.square())
    return (kl_B / (kk_B.clamp_min(0) * ll_B.clamp_min(0)).sqrt()).where(defined, torch.nan)
