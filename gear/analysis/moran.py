"""Moran's I of features on the token grid (Moran 1950, doi 10.1093/biomet/37.1-2.17).

Shapes: B images, N = h h positions in raster order, D channels.
"""

from __future__ import annotations

import torch

from gear.analysis.hsic import FLAT, checked
from gear.files.mistakes import Mistake


def on_grid(x_BND: torch.Tensor) -> torch.Tensor:
    """(B, h, h, D) float64 of features in raster order. Mistake: no square grid, NaN."""
    x_BND = checked(x_BND, 4)
    side = int(x_BND.shape[1] ** 0.5)
    if side * side != x_BND.shape[1]:
        raise Mistake(
            f"{x_BND.shape[1]} positions are no square grid; give h x h features in raster order."
        )
    return x_BND.unflatten(1, (side, side))


def morans_i(x_BND: torch.Tensor) -> torch.Tensor:
    """(B,) float64: Moran's I of each image, the mean over channels.

    I = (N / W) sum_ij w_ij z_i z_j / sum_i z_i^2 for each channel. z is the channel minus its mean
    over positions. w_ij is 1 for the up to four adjacent positions (left, right, above, below), and
    W is the sum of all w. Smooth features have I near 1, a checkerboard -1, noise -1 / (N - 1) on
    average. A constant channel of an image is left out; nan if all channels are constant.
    Mistake: no square grid, NaN.
    """
    grid_BhhD = on_grid(x_BND)
    z = grid_BhhD - grid_BhhD.mean((1, 2), keepdim=True)
    down = (z[:, 1:] * z[:, :-1]).sum((1, 2))
    right = (z[:, :, 1:] * z[:, :, :-1]).sum((1, 2))
    side = z.shape[1]
    pairs = 2 * side * (side - 1)  # each pair is once in these sums, but twice in the definition
    variance_BD = z.square().sum((1, 2))
    flat_BD = variance_BD <= FLAT * grid_BhhD.square().sum((1, 2))
    moran_BD = side**2 / pairs * (down + right) / variance_BD
    return moran_BD.masked_fill(flat_BD, torch.nan).nanmean(1)
