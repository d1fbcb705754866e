"""Precision, recall, density and coverage of a generated set against a real one.

Precision and recall: Kynkäänniemi et al. 2019, arXiv 1904.06991 (a point on the edge of a ball is
inside). Density and coverage: Naeem et al. 2020, arXiv 2002.09797 (a point on the edge is outside;
then the density of a set against itself is 1). The radius of a point's ball is the distance to its
k-th nearest *other* point of the same set.

Distances are float64 and computed in blocks, so 50,000 images need little more memory than their
features. Legend: N real images, M generated images, D feature dimensions, R and C rows and columns
of a block.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gear.files.mistakes import Mistake
from gear.metrics.frechet import require_features, require_same_dimension

SIDE = 1024  # points of a block's side: 8 MiB of distances, which a process keeps when freed


def prdc(real_ND, fake_MD, k: int, once=lambda name, make: make()) -> dict[str, float]:
    """{'precision', 'recall', 'density', 'coverage'} with balls to the k-th neighbour.

    precision: share of fake points inside any real ball; recall: share of real points inside any
    fake ball; density: mean over fake points of (real balls around it) / k, may exceed 1; coverage:
    share of real balls that hold a fake point. Euclidean distances, float64.
    once(name, make): Summary.once of the real side.
    Mistake: wrong shapes, different dimensions, NaN, k < 1, a set with k points or fewer.
    """
    real_ND, fake_MD = np.asarray(real_ND), np.asarray(fake_MD)
    for features in (real_ND, fake_MD):
        require_features(features)
    require_same_dimension(real_ND.shape[1], fake_MD.shape[1])
    if not 1 <= k < min(len(real_ND), len(fake_MD)):
        raise Mistake(
            f"neighbours is {k}, must be at least 1 and smaller than both sets ({len(real_ND)} "
            f"real, {len(fake_MD)} fake); lower neighbours or give more images."
        )
    radius_N = once(("radii", len(real_ND), k), lambda: _squared_radii(real_ND, k))
    radius_M = _squared_radii(fake_MD, k)

    precise_M = np.zeros(len(fake_MD), dtype=bool)
    balls_M = np.zeros(len(fake_MD), dtype=np.int64)
    recalled_N = np.zeros(len(real_ND), dtype=bool)
    covered_N = np.zeros(len(real_ND), dtype=bool)
    for columns in _sides(fake_MD):
        fake_CD = fake_MD[columns].astype(np.float64)
        for rows in _sides(real_ND):
            distance_RC = _squared_distances(real_ND[rows].astype(np.float64), fake_CD)
            radius_R1 = radius_N[rows, None]
            precise_M[columns] |= (distance_RC <= radius_R1).any(axis=0)
            recalled_N[rows] |= (distance_RC <= radius_M[columns]).any(axis=1)
            inside_RC = distance_RC < radius_R1
            balls_M[columns] += inside_RC.sum(axis=0)
            covered_N[rows] |= inside_RC.any(axis=1)
    return {
        "precision": float(precise_M.mean()),
        "recall": float(recalled_N.mean()),
        "density": float(balls_M.mean() / k),
        "coverage": float(covered_N.mean()),
    }


def _sides(x_ND: np.ndarray) -> Iterator[slice]:
    """Yields slices of the rows of x, SIDE rows each."""
    for start in range(0, len(x_ND), SIDE):
        yield slice(start, min(start + SIDE, len(x_ND)))


def _squared_radii(x_ND: np.ndarray, k: int) -> np.ndarray:
    """Squared distance (N,) of each point to its k-th nearest other point."""
    nearest_Nk = np.full((len(x_ND), k), np.inf)
    for rows in _sides(x_ND):
        x_RD = x_ND[rows].astype(np.float64)
        for columns in _sides(x_ND):
            if columns.start < rows.start:
                continue  # the block (columns, rows) was already used for both
            if columns == rows:
                distance_RC = _squared_distances(x_RD, x_RD)
                np.fill_diagonal(distance_RC, np.inf)
            else:
                distance_RC = _squared_distances(x_RD, x_ND[columns].astype(np.float64))
                _keep_nearest(nearest_Nk, columns, distance_RC.T)
            _keep_nearest(nearest_Nk, rows, distance_RC)
    return nearest_Nk.max(axis=1)


def _keep_nearest(nearest_Nk: np.ndarray, rows: slice, distance_RC: np.ndarray) -> None:
    """Update the k smallest distances of the points `rows`, unsorted, in place."""
    k = nearest_Nk.shape[1]
    if k < distance_RC.shape[1]:
        distance_RC = np.partition(distance_RC, k - 1, axis=1)[:, :k]
    both_RC = np.concatenate([nearest_Nk[rows], distance_RC], axis=1)
    nearest_Nk[rows] = np.partition(both_RC, k - 1, axis=1)[:, :k]


def _squared_distances(x_RD: np.ndarray, y_CD: np.ndarray) -> np.ndarray:
    """Squared distances (R, C), never negative."""
    distance_RC = x_RD @ y_CD.T
    distance_RC *= -2.0
    distance_RC += np.einsum("rd,rd->r", x_RD, x_RD)[:, None]
    distance_RC += np.einsum("cd,cd->c", y_CD, y_CD)
    return np.maximum(distance_RC, 0.0, out=distance_RC)
