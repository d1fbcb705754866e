"""Maximum mean discrepancy (MMD) of two feature sets, with the cubic polynomial kernel.

Binkowski et al. 2018, arXiv 1801.01401 (KID, on Inception features; GPIC uses DINOv2 features).
Legend: N points x, M points y, D feature dimensions, S subsets, P points of a subset, R and C rows
and columns of a block of the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gear.files.mistakes import Mistake
from gear.metrics.frechet import require_features, require_same_dimension
from gear.runtime import rng

SUBSETS, SUBSET_SIZE = 100, 1000
ROWS, COLUMNS = 128, 1024  # of a block of the kernel, which then fits into a processor's cache


def _blocks(x_ND: np.ndarray, y_MD: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yields (rows, columns, their block (R, C) of the kernel (x . y / D + 1)^3) in float64."""
    x_ND = np.asarray(x_ND, np.float64)
    y_DM = np.ascontiguousarray(np.asarray(y_MD, np.float64).T / x_ND.shape[1])
    for row in range(0, len(x_ND), ROWS):
        rows = slice(row, row + ROWS)
        for column in range(0, y_DM.shape[1], COLUMNS):
            columns = slice(column, column + COLUMNS)
            base_RC = x_ND[rows] @ y_DM[:, columns]
            base_RC += 1.0
            yield rows, columns, base_RC * base_RC * base_RC  # numpy's ** 3 is seven times as slow


def kernel_sum(x_ND: np.ndarray, y_MD: np.ndarray) -> float:
    """The sum of the kernel over all pairs."""
    return sum(float(kernel_RC.sum()) for _, _, kernel_RC in _blocks(x_ND, y_MD))


def kernel_sums(x_ND, y_MD, x_SP, y_SP) -> np.ndarray:
    """(S,) sums of the kernel over the pairs of each subset, whose points' numbers are x_SP, y_SP.

    If the kernel of all pairs is less work than those of the subsets, it is made once for all."""
    if 2 * len(x_ND) * len(y_MD) > x_SP.size * y_SP.shape[1]:  # 2: the sums are work, too
        return np.array([kernel_sum(x_ND[x], y_MD[y]) for x, y in zip(x_SP, y_SP, strict=True)])
    x_SN, y_SM = _members(x_SP, len(x_ND)), _members(y_SP, len(y_MD))
    sum_S = np.zeros(len(x_SP))
    for rows, columns, kernel_RC in _blocks(x_ND, y_MD):
        sum_S += ((x_SN[:, rows] @ kernel_RC) * y_SM[:, columns]).sum(1)
    return sum_S


def _members(numbers_SP, count):
    """(S, count): 1 where a point is in the subset, else 0."""
    members = np.zeros((len(numbers_SP), count))
    np.put_along_axis(members, numbers_SP, 1.0, 1)
    return members


def off_diagonal(x_ND, x_SP) -> np.ndarray:
    """(S,) mean kernels of all pairs of two different points of each subset."""
    square_N = np.einsum("nd,nd->n", x_ND, x_ND, dtype=np.float64)
    itself_N = (square_N / x_ND.shape[1] + 1.0) ** 3
    count = x_SP.shape[1]
    return (kernel_sums(x_ND, x_ND, x_SP, x_SP) - itself_N[x_SP].sum(1)) / (count * (count - 1))


def mmd_squared(x_ND: np.ndarray, y_MD: np.ndarray) -> float:
    """The unbiased estimate of the squared MMD of all points; may be negative."""
    within = sum(off_diagonal(z, np.arange(len(z))[None])[0] for z in (x_ND, y_MD))
    return float(within - 2.0 * kernel_sum(x_ND, y_MD) / (len(x_ND) * len(y_MD)))


def mmd(
    real_ND, fake_MD, subsets=SUBSETS, size=SUBSET_SIZE, once=lambda name, make: make()
) -> float:
    """Mean of `mmd_squared` over random subsets of `size` images per side.

    If a side has fewer images, `size` is that number. The images of a subset are a function of its
    number and of the side. once(name, make): Summary.once of the real side.
    Mistake: wrong shapes, different dimensions, NaN, fewer than 2 images on a side.
    """
    real_ND, fake_MD = np.asarray(real_ND), np.asarray(fake_MD)
    for features in (real_ND, fake_MD):
        require_features(features)
    require_same_dimension(real_ND.shape[1], fake_MD.shape[1])
    size = min(size, len(real_ND), len(fake_MD))
    if size < 2 or subsets < 1:
        raise Mistake(
            f"{subsets} subsets of {size} images make no MMD; give at least 2 images on each side "
            "and 1 subset."
        )

    def drawn(side, count):
        orders = (rng.permutation(("mmd", side, subset), count) for subset in range(subsets))
        return np.stack([order[:size] for order in orders])

    def of_real():
        real_SP = drawn("real", len(real_ND))
        return real_SP, off_diagonal(real_ND, real_SP)

    real_SP, within_S = once(("mmd", subsets, size), of_real)
    fake_SP = drawn("fake", len(fake_MD))
    between_S = kernel_sums(real_ND, fake_MD, real_SP, fake_SP) / size**2
    return float(np.mean(within_S + off_diagonal(fake_MD, fake_SP) - 2.0 * between_S))
