"""Fréchet distance between two feature sets, each summarised by its mean and covariance.

Heusel et al. 2017, arXiv 1706.08500 (FID on Inception features; the formula knows no network).
All arithmetic in float64. Legend: N images, D feature dimensions.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import eigh, eigvalsh


@dataclass
class Statistics:
    """Count, mean (D,) and sample covariance (D, D; divisor count - 1) of features, in float64.

    Grows batch by batch; how the batches are cut changes only the order of float additions.
    With one image `cov` is zero by convention, and `frechet_distance` refuses it.
    """

    count: int = 0
    mean: np.ndarray | None = None
    cov: np.ndarray | None = None

    @classmethod
    def of(cls, features_ND) -> Statistics:
        """Statistics of features (N, D). ValueError as in `update`."""
        statistics = cls()
        statistics.update(features_ND)
        return statistics

    def update(self, batch_ND) -> None:
        """Adds a batch (N, D). ValueError: not 2-D, empty, not finite, another D."""
        x_ND = feature_matrix(batch_ND)
        mean_D = x_ND.mean(axis=0)
        centred_ND = x_ND - mean_D
        cov_DD = centred_ND.T @ centred_ND / max(len(x_ND) - 1, 1)
        self.merge(Statistics(len(x_ND), mean_D, cov_DD))

    def merge(self, other: Statistics) -> None:
        """Adds the images behind `other` (another batch or process): Chan, Golub, LeVeque 1983."""
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

    def save(self, path) -> None:
        """Writes an .npz with keys mu (D,), sigma (D, D), count (); aside, then renamed."""
        if self.count == 0:
            raise ValueError(f"nothing to save in {path}: update the statistics with features.")
        aside = Path(f"{path}.partial")
        with open(aside, "wb") as file:
            np.savez(file, mu=self.mean, sigma=self.cov, count=np.int64(self.count))
        os.replace(aside, path)

    @classmethod
    def load(cls, path) -> Statistics:
        """Reads what `save` wrote, exactly. ValueError: a key is missing, wrong shapes, NaN."""
        with np.load(path, allow_pickle=False) as file:
            missing = sorted({"mu", "sigma", "count"} - set(file.files))
            if missing:
                raise ValueError(
                    f"{path} lacks {', '.join(missing)} (it holds {', '.join(file.files)}); make "
                    "it with Statistics.save, or add the missing keys."
                )
            mean_D = file["mu"].astype(np.float64)
            cov_DD = file["sigma"].astype(np.float64)
            count = int(file["count"])
        fits = mean_D.ndim == 1 and cov_DD.shape == 2 * mean_D.shape
        if not (fits and np.isfinite(mean_D).all() and np.isfinite(cov_DD).all()):
            raise ValueError(
                f"{path} holds mu {mean_D.shape} and sigma {cov_DD.shape}, expected finite (D,) "
                "and (D, D); make it again with Statistics.save."
            )
        return cls(count, mean_D, cov_DD)


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2), in squared feature units.

    The matrix under the root is symmetric and positive semi-definite, so its eigenvalues are real
    and the trace of its root is the sum of their roots, also where covariances are rank-deficient.
    ValueError: fewer than 2 images on a side, or different dimensions.
    """
    for side in (a, b):
        if side.count < 2:
            raise ValueError(
                f"a covariance needs at least 2 images, found {side.count}; give more images."
            )
    require_same_dimension(len(a.mean), len(b.mean))
    values_D, vectors_DD = eigh(a.cov)
    root_DD = (vectors_DD * np.sqrt(np.clip(values_D, 0.0, None))) @ vectors_DD.T
    product_DD = root_DD @ b.cov @ root_DD
    values_D = eigvalsh((product_DD + product_DD.T) / 2)
    trace_root = np.sqrt(np.clip(values_D, 0.0, None)).sum()  # rounding puts zeros at about -1e-16
    delta_D = a.mean - b.mean
    distance = delta_D @ delta_D + np.trace(a.cov) + np.trace(b.cov) - 2.0 * trace_root
    return max(float(distance), 0.0)


def feature_matrix(features_ND) -> np.ndarray:
    """The features in float64, (N, D). ValueError: not 2-D, empty, NaN or infinity."""
    x_ND = np.asarray(features_ND, dtype=np.float64)
    if x_ND.ndim != 2 or 0 in x_ND.shape:
        raise ValueError(
            f"features have shape {x_ND.shape}, expected (images, dimensions) with at least one of "
            "each; pool or flatten them to one row per image."
        )
    finite_N = np.isfinite(x_ND).all(axis=1)
    if not finite_N.all():
        raise ValueError(
            f"features of {(~finite_N).sum()} of {len(x_ND)} images hold NaN or infinity; check "
            "the images and the weights of the feature network, and extract the features again."
        )
    return x_ND


def require_same_dimension(a: int, b: int) -> None:
    """ValueError where two feature sets have different numbers of dimensions."""
    if a != b:
        raise ValueError(
            f"features have {a} and {b} dimensions; extract both with the same feature network and "
            "layer."
        )
