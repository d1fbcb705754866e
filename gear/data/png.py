"""Pictures as PNG files."""

import math

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gear.files.aside import aside


def save_png(path, picture_HWC, text=None):
    """Write a uint8 array (H, W, C) through a temporary file.

    C is 1 (gray) or 3 (RGB). text: {key: value} in the file beside the pixels."""
    info = PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    picture = picture_HWC[..., 0] if picture_HWC.shape[2] == 1 else picture_HWC
    with aside(path) as part:
        Image.fromarray(picture).save(part, format="PNG", pnginfo=info)


def enlarged(picture_HWC, side, least=64):
    """The picture with each pixel repeated, so that a tile of `side` pixels has `least`."""
    times = math.ceil(least / side)
    return picture_HWC.repeat(times, axis=0).repeat(times, axis=1)
