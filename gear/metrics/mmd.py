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


def polynomial_kernel(x_ND: np.ndarray, y_MD: np.ndarray) -> np.ndarray:
    """The kernel (x . y / D + 1)^3 of all pairs, (N, M) float64."""
    return (x_ND @ y_MD.T / x_ND.shape[1] + 1.0) ** 3


def mmd_squared(x_ND: np.ndarray, y_MD: np.ndarray) -> float:
    """The unbiased estimate of the squared MMD of all points; may be negative."""
    x_ND, y_MD = np.asarray(x_ND, np.float64), np.asarray(y_MD, np.float64)

    def off_diagonal(points):
        kernel = polynomial_kernel(points, points)
        return (kernel.sum() - np.trace(kernel)) / (len(points) * (len(points) - 1))

    return float(
        off_diagonal(x_ND) + off_diagonal(y_MD) - 2.0 * polynomial_kernel(x_ND, y_MD).mean()
    )


def mmd(real_ND, fake_MD, subsets: int = SUBSETS, size: int = SUBSET_SIZE) -> float:
    """Mean of `mmd_squared` over random subsets of `size` images per side.

    If a side has fewer images, `size` is that number. The images of a subset are a function of its
    number and of the side.
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
    values = []
    for subset in range(subsets):
        x, y = (
            features[rng.permutation(("mmd", side, subset), len(features))[:size]]
            for side, features in sides.items()
        )
        values.append(mmd_squared(x, y))
    return float(np.mean(values))
