"""PSNR, SSIM and L1 between reconstructed images and originals, one value per image.

Images are float tensors (B, C, H, W) in [0, 1]. Values are float64 (B,), so a mean over a data set
does not depend on the batch size. Mistake: shapes that differ, integer images, values outside
[0, 1], NaN.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from gear.files.mistakes import Mistake

WINDOW = 7  # pixels, side of the uniform window of SSIM
TOLERANCE = 1e-4  # beyond [0, 1], for float rounding


def psnr(a_BCHW: torch.Tensor, b_BCHW: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio (B,) in dB, peak value 1; infinite for equal images."""
    a_BCHW, b_BCHW = _checked(a_BCHW, b_BCHW)
    return -10.0 * torch.log10((a_BCHW - b_BCHW).square().mean(dim=(1, 2, 3)))


def l1(a_BCHW: torch.Tensor, b_BCHW: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference (B,), between 0 and 1."""
    a_BCHW, b_BCHW = _checked(a_BCHW, b_BCHW)
    return (a_BCHW - b_BCHW).abs().mean(dim=(1, 2, 3))


def ssim(a_BCHW: torch.Tensor, b_BCHW: torch.Tensor) -> torch.Tensor:
    """Structural similarity (B,), at most 1: Wang et al. 2004, doi 10.1109/TIP.2003.819861.

    As scikit-image's `structural_similarity` with data_range=1 and its other defaults: uniform
    7 x 7 window, sample covariance, only windows inside the image, mean over channels.
    """
    a_BCHW, b_BCHW = _checked(a_BCHW, b_BCHW)
    if min(a_BCHW.shape[2:]) < WINDOW:
        raise Mistake(
            f"SSIM needs images of at least {WINDOW} x {WINDOW} pixels, found "
            f"{a_BCHW.shape[2]} x {a_BCHW.shape[3]}; leave SSIM out or use larger images."
        )

    def window_mean(x_BCHW: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x_BCHW, WINDOW, stride=1)

    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    mean_a, mean_b = window_mean(a_BCHW), window_mean(b_BCHW)
    var_a = unbiased * (window_mean(a_BCHW * a_BCHW) - mean_a * mean_a)
    var_b = unbiased * (window_mean(b_BCHW * b_BCHW) - mean_b * mean_b)
    cov_ab = unbiased * (window_mean(a_BCHW * b_BCHW) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    structure = (2 * cov_ab + c2) / (var_a + var_b + c2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _checked(a_BCHW: torch.Tensor, b_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both batches in float64. Mistake: shapes, integer images, values outside [0, 1], NaN."""
    if a_BCHW.ndim != 4 or a_BCHW.shape != b_BCHW.shape or a_BCHW.numel() == 0:
        raise Mistake(
            f"images have shapes {tuple(a_BCHW.shape)} and {tuple(b_BCHW.shape)}; give two equal, "
            "non-empty (B, C, H, W) batches."
        )
    for x_BCHW in (a_BCHW, b_BCHW):
        if not x_BCHW.is_floating_point():
            raise Mistake(f"images are {x_BCHW.dtype}; convert them to float and divide by 255.")
        low, high = (float(value) for value in x_BCHW.aminmax())
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # this form is also true for NaN
            raise Mistake(
                f"images must lie in [0, 1], found [{low:.3g}, {high:.3g}]; map [-1, 1] by "
                "(x + 1) / 2 and clamp."
            )
    return a_BCHW.double(), b_BCHW.double()
