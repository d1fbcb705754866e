"""Share of high spatial frequencies in features, from the two-dimensional spectrum.

Shapes: B images, N = h h positions in raster order, D channels.
"""

from __future__ import annotations

import torch

from gear.analysis.hsic import spread
from gear.analysis.moran import on_grid
from gear.files.mistakes import Mistake


def high_frequency_share(x_BND: torch.Tensor, cutoff: float = 0.25) -> torch.Tensor:
    """(B,) float64 in [0, 1]: share of the energy |FFT|^2 at radii above `cutoff`.

    The total excludes radius 0. A radius is sqrt(f_row^2 + f_column^2), with frequencies in cycles
    per token; 0.5 is the highest frequency along an axis. Energies are summed over channels, so a
    rotation of the features changes nothing. No window is applied. nan if all positions of an image
    are equal.
    Mistake: cutoff not in (0, 0.7), no square grid, NaN.
    """
    if not 0 < cutoff < 0.7:
        raise Mistake(
            f"the cut-off is {cutoff} cycles per token; set analysis.cutoff between 0 and 0.7, "
            "beyond which there is nothing."
        )
    grid_BhhD = on_grid(x_BND)
    centred = grid_BhhD - grid_BhhD.mean((1, 2), keepdim=True)
    energy_Bhh = torch.fft.fft2(centred, dim=(1, 2)).abs().square().sum(-1)
    frequency_h = torch.fft.fftfreq(grid_BhhD.shape[1], dtype=torch.float64, device=x_BND.device)
    radius_hh = (frequency_h[:, None].square() + frequency_h[None].square()).sqrt()
    share_B = (energy_Bhh * (radius_hh > cutoff)).sum((1, 2)) / energy_Bhh.sum((1, 2))
    return share_B.where(spread(grid_BhhD.flatten(1, 2)).isfinite(), torch.nan)
