"""Pictures as PNG files."""

from PIL import Image

from gear.files.aside import aside


def save_png(path, picture_HWC):
    """Write a uint8 array (H, W, C) through a temporary file.

    C is 1 (gray) or 3 (RGB)."""
    picture = picture_HWC[..., 0] if picture_HWC.shape[2] == 1 else picture_HWC
    with aside(path) as part:
        Image.fromarray(picture).save(part, format="PNG")
