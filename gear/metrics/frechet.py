"""Fréchet distance of two feature sets, from their means and covariances.

Heusel et al. 2017, arXiv 1706.08500 (FID uses Inception features; the formula needs no network).
All arithmetic in float64. Legend: N images, R rows of a chunk, D feature dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, eigvalsh

from gear.files.mistakes import Mistake

ROWS = 8192  # features centred at once: 128 MiB of float64 at D = 2048


@dataclass
class Statistics:
    """Count, mean (D,) and covariance (D, D) of features, in float64.

    The covariance has the divisor count - 1. Batches are added one by one. The batch size changes
    only the order of float additions; in a Stream it changes nothing. With one image `cov` is zero,
    and `frechet_distance` raises Mistake.
    """

    count: int = 0
    mean: np.ndarray | None = None
    cov: np.ndarray | None = None

    @classmethod
    def of(cls, features_ND) -> Statistics:
        """Statistics of features (N, D). Mistake as in `update`."""
        statistics = cls()
        statistics.update(features_ND)
        return statistics

    def update(self, batch_ND) -> None:
        """Add a batch (N, D). Mistake: not 2-D, empty, not finite, another D."""
        require_features(batch_ND)
        for start in range(0, len(batch_ND), ROWS):
            x_RD = np.asarray(batch_ND[start : start + ROWS], dtype=np.float64)
            mean_D = x_RD.mean(axis=0)
            centred_RD = x_RD - mean_D
            cov_DD = centred_RD.T @ centred_RD / max(len(x_RD) - 1, 1)
            self.merge(Statistics(len(x_RD), mean_D, cov_DD))

    def merge(self, other: Statistics) -> None:
        """Add the images of `other`, another batch or process (Chan, Golub, LeVeque 1983)."""
        if other.count == 0:
            return
        if self.count == 0:
            self.count, self.mean, self.cov = other.count, other.mean.copy(), other.cov.copy()
            return
        require_same_dimension(len(self.mean), len(other.mean))
        total = self.count + other.count
        delta_D = other.mean - self.mean
        scatter_DD = self.cov * (self.count - 1) + other.cov * (other.count - 1)
        scatter_DD += np.outer(delta_D, delta_D) * (self.count * other.count / total)
        self.mean = self.mean + delta_D * (other.count / total)
        self.cov = scatter_DD / (total - 1)
        self.count = total


class Stream:
    """Statistics of features in batches, equal for every batch size.

    Statistics are computed for chunks of ROWS rows. Only the rows of an incomplete chunk are kept.
    """

    def __init__(self):
        self._statistics, self._waiting = Statistics(), []

    def add(self, batch_ND) -> None:
        """Add a batch (N, D). Mistake as in Statistics.update."""
        require_features(batch_ND)
        self._waiting.append(np.asarray(batch_ND))
        if sum(map(len, self._waiting)) >= ROWS:
            x_ND = np.concatenate(self._waiting)
            whole = len(x_ND) // ROWS * ROWS
            self._statistics.update(x_ND[:whole])
            self._waiting = [x_ND[whole:]] if whole < len(x_ND) else []

    def finish(self) -> Statistics:
        """The Statistics of all batches. After this call no batch may be added."""
        if self._waiting:
            self._statistics.update(np.concatenate(self._waiting))
            self._waiting = []
        return self._statistics


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """The distance of `frechet_with_bound`, without the bound. Mistake as there."""
    return frechet_with_bound(a, b)[0]


def frechet_with_bound(a: Statistics, b: Statistics) -> tuple[float, float]:
    """(|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2), its error bound).

    Both in squared feature units. The matrix under the root is symmetric and positive
    semi-definite. Its eigenvalues are therefore real, and the trace of its root is the sum of their
    roots, also for rank-deficient covariances. The bound is for rounding errors, given the
    statistics; it says nothing about the sampling error of another set of images.
    Mistake: fewer than 2 images on a side, or different dimensions.
    """
    for side in (a, b):
        if side.count < 2:
            raise Mistake(
                f"a covariance needs at least 2 images, found {side.count}; give more images."
            )
    require_same_dimension(len(a.mean), len(b.mean))
    of_a_D, vectors_DD = eigh(a.cov)
    root_DD = (vectors_DD * np.sqrt(np.clip(of_a_D, 0.0, None))) @ vectors_DD.T
    product_DD = root_DD @ b.cov @ root_DD
    values_D = eigvalsh((product_DD + product_DD.T) / 2)
    trace_root = np.sqrt(np.clip(values_D, 0.0, None)).sum()  # rounding puts zeros at about -1e-16
    delta_D = a.mean - b.mean
    parts = delta_D @ delta_D, np.trace(a.cov), np.trace(b.cov)
    distance = sum(parts) - 2.0 * trace_root
    bound = _root_error(of_a_D, parts[2]) + _sum_error(values_D) + _EPS * len(delta_D) * sum(parts)
    return max(float(distance), 0.0), float(bound)


_EPS = np.finfo(np.float64).eps


def _root_error(values_D, other_trace) -> float:
    """Upper bound of the error of 2 tr (S_a^1/2 S_b S_a^1/2)^1/2 from the computed S_a^1/2.

    The computed root is the root of S_a + E. E holds the clipped negative eigenvalues, and D eps of
    the norm in each of D directions. By Powers and Stoermer 1970 the two roots differ by at most
    |E|_1^1/2 in Frobenius norm, and the traces by that times tr(S_b)^1/2.
    """
    clipped = np.clip(-values_D, 0.0, None).sum()
    away = clipped + len(values_D) ** 2 * _EPS * np.abs(values_D).max()
    return 2.0 * np.sqrt(away * max(other_trace, 0.0))


def _sum_error(values_D) -> float:
    """Upper bound of the error of 2 sum of roots, from the computed eigenvalues.

    By Weyl the error of each eigenvalue is at most the norm of the matrix's error. Its estimate is
    D eps of the largest eigenvalue, or the largest negative eigenvalue if that is more. The error
    of a root is then at most error^1/2, or error / root if that is less.
    """
    error = max(len(values_D) * _EPS * np.abs(values_D).max(), -values_D.min())
    if error == 0.0:
        return 0.0
    roots_D = np.sqrt(np.clip(values_D, error, None))
    return 2.0 * (error / roots_D).sum()


def require_features(features_ND) -> None:
    """Mistake: features are not (N, D), are empty, or hold NaN or infinity."""
    shape = np.shape(features_ND)
    if len(shape) != 2 or 0 in shape:
        raise Mistake(
            f"features have shape {shape}, expected (images, dimensions) with at least one of "
            "each; pool or flatten them to one row per image."
        )
    finite = [np.isfinite(features_ND[i : i + ROWS]).all(axis=1) for i in range(0, shape[0], ROWS)]
    wrong = sum(int((~part).sum()) for part in finite)
    if wrong:
        raise Mistake(
            f"features of {wrong} of {shape[0]} images hold NaN or infinity; check "
            "the images and the weights of the feature network, and extract the features again."
        )


def require_same_dimension(a: int, b: int) -> None:
    """Mistake: two feature sets have different numbers of dimensions."""
    if a != b:
        raise Mistake(
            f"features have {a} and {b} dimensions; extract both with the same feature network and "
            "layer."
        )
