"""Images resized to the resolution of the reference, before scoring.

The filter is bicubic with antialias; it differs from PIL's by at most one in 255. The published
code has no antialias, so its scores of 384 and 512 pixels are of aliased images: `aliased` gives
these (docs/decisions.md).
"""

import torch
import torch.nn.functional as F

from gear.data.memory import to_uint8
from gear.files.mistakes import Mistake


def resized(images_uint8, size, batch=256):
    """uint8 (N, C, size, size) of uint8 images (N, C, H, W).

    Images of that size are returned unchanged. Mistake: the images are not square."""
    height, width = images_uint8.shape[-2:]
    if height != width:
        raise Mistake(
            f"images of {width} x {height} pixels cannot be scored at {size} x {size}; crop them "
            "to squares first."
        )
    if height == size:
        return images_uint8
    return torch.cat([_bicubic(part, size) for part in images_uint8.split(batch)])


def _bicubic(images_uint8, size):
    """Resize on the CPU: there torch rounds between the two passes, as PIL does."""
    small = F.interpolate(images_uint8.cpu(), (size, size), mode="bicubic", antialias=True)
    return small.to(images_uint8.device)


def aliased(images, size):
    """uint8 (n, C, size, size) of float images (n, C, H, W) in [-1, 1], as published: without
    antialias, and before they are rounded to 8 bits."""
    return to_uint8(F.interpolate(images, (size, size), mode="bicubic"))
