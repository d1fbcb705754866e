"""CKNNA: similarity of two kernels among nearest neighbours.

Huh et al. 2024, arXiv 2405.07987, appendix A, as computed by that paper's published implementation.

Shapes: B sets at once, N samples of each, D and F widths.
"""

from __future__ import annotations

import torch

from gear.analysis.hsic import checked, hsic, normalised, same_samples, spread
from gear.files.mistakes import Mistake

LEAST = 4  # samples that the unbiased HSIC needs
TIE = 1e-12  # share of the largest inner product; a smaller difference is a tie


def neighbours(K_BNN: torch.Tensor, k: int) -> torch.Tensor:
    """(B, N, N) bool: the k samples with the largest kernel value of each row.

    A sample is not its own neighbour. All samples that tie with the k-th are neighbours, so the
    order of the samples does not matter. Ties are common: many positions have the same code."""
    itself = torch.eye(K_BNN.shape[-1], dtype=torch.bool, device=K_BNN.device)
    tolerance_B11 = TIE * K_BNN.diagonal(dim1=1, dim2=2).amax(1)[:, None, None]
    others = K_BNN.masked_fill(itself, -torch.inf)
    return others >= others.topk(k, -1).values[..., -1:] - tolerance_B11


def cknna(x_BND: torch.Tensor, y_BNF: torch.Tensor, k: int = 10) -> torch.Tensor:
    """(B,) float64, 1 for equal features and about 0 for unrelated ones.

    A(K, L) is the unbiased HSIC of K and L, where an entry (i, j) is kept only if j is among the k
    nearest of i by inner product both in x and in y. The value is A(K, L) / sqrt(A(K, K) A(L, L)).
    Within x or y, neighbours need not be mutual. Values may therefore exceed 1, and swapping x and
    y changes the value slightly; the teacher's features are y. nan if all samples of a set are
    equal, or if A(K, K) or A(L, L) is not positive.
    Mistake: k not in 1..N-1, fewer than 4 samples, different samples of x and y, NaN.
    """
    x_BND, y_BNF = checked(x_BND, LEAST), checked(y_BNF, LEAST)
    same_samples(x_BND, y_BNF)
    if not 1 <= k < x_BND.shape[1]:
        raise Mistake(
            f"{k} neighbours of {x_BND.shape[1]} samples: set analysis.neighbours to 1 to "
            f"{x_BND.shape[1] - 1}, or compare more samples."
        )
    K_BNN, L_BNN = x_BND @ x_BND.mT, y_BNF @ y_BNF.mT
    near_x, near_y = neighbours(K_BNN, k), neighbours(L_BNN, k)

    def masked(A_BNN, B_BNN, mask_BNN):
        return hsic(A_BNN * mask_BNN, B_BNN * mask_BNN, "unbiased")

    return normalised(
        masked(K_BNN, L_BNN, near_x & near_y),
        masked(K_BNN, K_BNN, near_x),
        masked(L_BNN, L_BNN, near_y),
        spread(x_BND),
        spread(y_BNF),
    )
