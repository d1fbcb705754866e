"""One image file -> the square of pixels that the networks read.

As in the published recipe:

- training: the short side is resized to the resolution by PIL's antialiased bicubic filter, then a
  square at a random place is cut; half of the squares are mirrored
- validation: the short side is resized, bicubic or bilinear; then the square in the middle is cut
- sizes and offsets are rounded as in torchvision's Resize, RandomCrop and CenterCrop, so the pixels
  are equal to torchvision's; an image smaller than the resolution is enlarged, as in torchvision
- files are read as by torchvision's ImageFolder: EXIF orientation and transparency are ignored,
  CMYK and palettes become RGB. One difference: 16-bit gray is scaled to 8 bits; torchvision clips
  it at 255

This module does not import torch, so decoding processes start quickly. Legend: H, W pixels, C
channels (1 gray, 3 RGB); u: numbers in [0, 1) that determine the place of a crop, or a flip.
"""

import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from gear.files.mistakes import Mistake
from gear.files.reading import reason_of, require_file

LARGE, RATIO = 2**24, 1000  # pixels, and pixels of a byte, above which a file is not decoded
MODES = {1: "L", 3: "RGB"}
CURE = "replace or remove it"
INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}

# PIL would warn of an attack where a photograph has above half of the pixels that it reads
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(path, channels):
    """The decoded image in PIL's mode L or RGB. Mistake: the file cannot be read."""
    size = require_file(path, CURE)
    try:
        return decoded(path, size, channels)
    except Exception as error:  # PIL raises many types of errors for damaged files
        raise Mistake(f"{path} cannot be read as an image ({fault_of(error)}); {CURE}.") from error


def decoded(source, size, channels):
    """The decoded image of a path or an open file of `size` bytes, as `open_image` returns it.

    Any error: it is damaged; see `fault_of`."""
    with Image.open(source) as file:
        require_content(file, size)
        file.info.pop("transparency", None)  # convert() would drop it with a warning
        if file.mode == "F":
            raise Mistake("its pixels are floats, whose range it does not state")
        return to_8_bits(file).convert(MODES[channels])


def fault_of(error):
    """What an error of PIL says of a file, in one line that does not name the file again."""
    if isinstance(error, UnidentifiedImageError):
        return "its content is of no known kind of image"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * Image.MAX_IMAGE_PIXELS // 10**6} million pixels"
    return reason_of(error) or type(error).__name__


def require_content(image, size):
    """OSError where a file of `size` bytes claims far more pixels than it can hold."""
    width, height = image.size
    if width * height > max(LARGE, RATIO * size):
        raise OSError(f"it claims {width} x {height} pixels and has {size} bytes")


def to_8_bits(image):
    """A 16-bit gray image in mode L (65535 becomes 255); other images unchanged."""
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.size and not 0 <= values.min() <= values.max() <= 65535:
        raise Mistake(f"it has pixels of {values.min()} to {values.max()}, beyond 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def short_size(size_WH, size):
    """(width, height) after a resize to `size` pixels on the short side, long side rounded down."""
    width, height = size_WH
    long = int(size * max(width, height) / min(width, height))
    return (size, long) if width <= height else (long, size)


def resize_short(image, size, interpolation="bicubic"):
    """The image with `size` pixels on its short side, long side rounded down."""
    new_size = short_size(image.size, size)
    if new_size == image.size:
        return image
    return image.resize(new_size, INTERPOLATIONS[interpolation])


def centre_crop(image, size):
    """The size x size square in the middle. Half offsets round to the even number."""
    width, height = image.size
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def random_crop(image, size, u_top, u_left):
    """The size x size square at a random place; all places are equally likely."""
    left, top = crop_place(image.size, size, u_top, u_left)
    return image.crop((left, top, left + size, top + size))


def crop_place(size_WH, size, u_top, u_left):
    """(left, top) of a random crop, in pixels of the image after resize_short."""
    width, height = short_size(size_WH, size)
    return int(u_left * (width - size + 1)), int(u_top * (height - size + 1))


def pixels(image):
    """The image as an array (H, W, C), uint8."""
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


def training_pixels(path, channels, size, u):
    """(size, size, C) uint8 of a training image. Mistake: the file cannot be read.

    u: three numbers in [0, 1), for top, left and flip."""
    u_top, u_left, u_flip = u
    image = resize_short(open_image(path, channels), size)
    square = pixels(random_crop(image, size, u_top, u_left))
    return square[:, ::-1] if u_flip < 0.5 else square


def validation_pixels(path, channels, size, interpolation="bicubic"):
    """(size, size, C) uint8 of a validation image. Mistake: the file cannot be read."""
    return centred_pixels(open_image(path, channels), size, interpolation)


def centred_pixels(image, size, interpolation="bicubic"):
    """(size, size, C) uint8 of the middle of an image in PIL's mode L or RGB."""
    return pixels(centre_crop(resize_short(image, size, interpolation), size))
