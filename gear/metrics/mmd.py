"""Maximum mean discrepancy (MMD) of two feature sets, with the cubic polynomial kernel.

Binkowski et al. 2018, arXiv 1801.01401 (KID, on Inception features; GPIC uses DINOv2 features).
Legend: N real images, M generated images, S images of a subset, D feature dimensions.
"""

from __future__ import annotations

import numpy as np

from gear.files.mistakes import Mistake
from gear.metrics.frechet import require_features, require_same_dimension
from gear.runtime import rng

SUBSETS, SUBSET_SIZE = 100, 1000
ROWS = 128  # of a block of the kernel, which then fits into a processor's cache


def kernel_sum(x_ND: np.ndarray, y_MD: np.ndarray) -> float:
    """The sum of the kernel (x . y / D + 1)^3 over all pairs, in float64."""
    y_DM, total = np.ascontiguousarray(y_MD.T / x_ND.shape[1]), 0.0
    for start in range(0, len(x_ND), ROWS):
        base_RM = x_ND[start : start + ROWS] @ y_DM
        base_RM += 1.0
        total += float((base_RM * base_RM * base_RM).sum())  # numpy's ** 3 is seven times as slow
    return total


def off_diagonal(x_ND: np.ndarray) -> float:
    """The mean kernel of all pairs of two different points."""
    itself_N = (np.einsum("nd,nd->n", x_ND, x_ND) / x_ND.shape[1] + 1.0) ** 3
    return (kernel_sum(x_ND, x_ND) - itself_N.sum()) / (len(x_ND) * (len(x_ND) - 1))


def mmd_squared(x_ND: np.ndarray, y_MD: np.ndarray) -> float:
    """The unbiased estimate of the squared MMD of all points; may be negative."""
    x_ND, y_MD = np.asarray(x_ND, np.float64), np.asarray(y_MD, np.float64)
    return off_diagonal(x_ND) + _off_both(x_ND, y_MD)


def _off_both(x_ND, y_MD):
    """What the squared MMD has besides the part of x alone."""
    between = kernel_sum(x_ND, y_MD) / (len(x_ND) * len(y_MD))
    return off_diagonal(y_MD) - 2.0 * between


def mmd(
    real_ND, fake_MD, subsets=SUBSETS, size=SUBSET_SIZE, once=lambda name, make: make()
) -> float:
    """Mean of `mmd_squared` over random subsets of `size` images per side.

    If a side has fewer images, `size` is that number. The images of a subset are a function of its
    number and of the side. once(name, make): Summary.once of the real side.
    Mistake: wrong shapes, different dimensions, NaN, fewer than 2 images on a side.
    """
    sides = {"real": np.asarray(real_ND), "fake": np.asarray(fake_MD)}
    for features in sides.values():
        require_features(features)
    require_same_dimension(*(features.shape[1] for features in sides.values()))
    size = min(size, *(len(features) for features in sides.values()))
    if size < 2 or subsets < 1:
        raise Mistake(
            f"{subsets} subsets of {size} images make no MMD; give at least 2 images on each side "
            "and 1 subset."
        )

    def drawn(side, subset):
        numbers = rng.permutation(("mmd", side, subset), len(sides[side]))[:size]
        return np.asarray(sides[side][numbers], np.float64)

    def of_real():
        return [off_diagonal(drawn("real", subset)) for subset in range(subsets)]

    values = [
        of_one + _off_both(drawn("real", subset), drawn("fake", subset))
        for subset, of_one in enumerate(once(("mmd", subsets, size), of_real))
    ]
    return float(np.mean(values))
