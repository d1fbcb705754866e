"""Precision, recall, density and coverage of a generated set against a real one.

Precision and recall: Kynkäänniemi et al. 2019, arXiv 1904.06991 (a point on the edge of a ball is
inside). Density and coverage: Naeem et al. 2020, arXiv 2002.09797 (a point on the edge is outside,
which makes the density of a set against itself 1). A ball reaches from a point to the k-th nearest
*other* point of its own set. Legend: N real images, M generated images, D feature dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gear.metrics.frechet import feature_matrix, require_same_dimension

BLOCK_ELEMENTS = 2**23  # distances held at once: 64 MiB, besides float64 copies of both sets


def prdc(real_ND, fake_MD, k: int) -> dict[str, float]:
    """{'precision', 'recall', 'density', 'coverage'} with balls to the k-th neighbour.

    precision: share of fake points inside any real ball; recall: share of real points inside any
    fake ball; density: mean over fake points of (real balls around it) / k, may exceed 1; coverage:
    share of real balls that hold a fake point. Euclidean distances, float64.
    ValueError: shapes, dimensions that differ, NaN, k < 1, a set of k points or fewer.
    """
    real_ND, fake_MD = feature_matrix(real_ND), feature_matrix(fake_MD)
    require_same_dimension(real_ND.shape[1], fake_MD.shape[1])
    if not 1 <= k < min(len(real_ND), len(fake_MD)):
        raise ValueError(
            f"neighbours is {k}, must be at least 1 and smaller than both sets ({len(real_ND)} "
            f"real, {len(fake_MD)} fake); lower neighbours or give more images."
        )
    radius_N = _squared_radii(real_ND, k)
    radius_M = _squared_radii(fake_MD, k)

    precise_M = np.zeros(len(fake_MD), dtype=bool)
    balls_M = np.zeros(len(fake_MD), dtype=np.int64)
    recalled_N = np.zeros(len(real_ND), dtype=bool)
    covered_N = np.zeros(len(real_ND), dtype=bool)
    for rows, distance_RM in _squared_distance_blocks(real_ND, fake_MD):
        radius_R1 = radius_N[rows, None]
        precise_M |= (distance_RM <= radius_R1).any(axis=0)
        recalled_N[rows] = (distance_RM <= radius_M).any(axis=1)
        inside_RM = distance_RM < radius_R1
        balls_M += inside_RM.sum(axis=0)
        covered_N[rows] = inside_RM.any(axis=1)
    return {
        "precision": float(precise_M.mean()),
        "recall": float(recalled_N.mean()),
        "density": float(balls_M.mean() / k),
        "coverage": float(covered_N.mean()),
    }


def _squared_radii(x_ND: np.ndarray, k: int) -> np.ndarray:
    """Squared distance (N,) of each point to its k-th nearest other point."""
    radius_N = np.empty(len(x_ND))
    for rows, distance_RN in _squared_distance_blocks(x_ND, x_ND):
        distance_RN[np.arange(len(distance_RN)), np.arange(rows.start, rows.stop)] = np.inf
        radius_N[rows] = np.partition(distance_RN, k - 1, axis=1)[:, k - 1]
    return radius_N


def _squared_distance_blocks(
    x_ND: np.ndarray, y_MD: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields (rows of x, squared distances (R, M)) with R * M at most BLOCK_ELEMENTS."""
    norm_M = np.einsum("md,md->m", y_MD, y_MD)
    step = max(1, BLOCK_ELEMENTS // len(y_MD))
    for start in range(0, len(x_ND), step):
        rows = slice(start, min(start + step, len(x_ND)))
        x_RD = x_ND[rows]
        distance_RM = x_RD @ y_MD.T
        distance_RM *= -2.0
        distance_RM += np.einsum("rd,rd->r", x_RD, x_RD)[:, None]
        distance_RM += norm_M
        yield rows, np.maximum(distance_RM, 0.0, out=distance_RM)
