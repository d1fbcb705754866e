"""Images of another resolution than the feature network's reference, brought to it before scoring.

Bicubic with an antialiasing filter, as PIL does it, to one in 255. The published code leaves the
filter out, so that what it scores of 384 and 512 pixels is aliased (docs/decisions.md).
"""

import torch
import torch.nn.functional as F

from gear.files.mistakes import Mistake


def resized(images_uint8, size, batch=256):
    """uint8 (N, C, size, size) of uint8 images (N, C, H, W), themselves where they are that large.

    Mistake: images that are not square, which would be stretched."""
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
    """On the CPU, where torch rounds between the two passes as PIL does, whatever the device."""
    small = F.interpolate(images_uint8.cpu(), (size, size), mode="bicubic", antialias=True)
    return small.to(images_uint8.device)
