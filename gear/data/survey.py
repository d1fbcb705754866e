"""Checks of a class folder's files without decoding all; runs in many processes.

This module does not import torch, so a process starts quickly.
"""

import os

from PIL import Image

from gear.data.finding import list_images, said
from gear.data.folder import require_size
from gear.data.transforms import fault_of, open_image, require_content
from gear.files.mistakes import Mistake
from gear.files.reading import require_file

RESOLUTIONS = (256, 384, 512)
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}  # bytes close to the end of a complete file
TAIL = 4096  # last bytes that are searched; some programs append bytes of their own


def try_one(folder, size=None):
    """Decode one image of a class folder; its Mistake, or None where it is an image.

    size: pixels a side that each image must have; None: any. Mistake: no image, or another size."""
    names, left_out = list_images(folder)
    if not names:
        here = f", but {said(left_out)}" if left_out else ""
        raise Mistake(f"{folder} holds no images{here}; remove it or fill it.")
    path = os.path.join(folder, names[0])
    try:
        image = open_image(path, 3)
    except Mistake as error:
        return error
    if size:
        require_size(image, size, path)
    return None


def examine(folder, names):
    """({resolution: number of images with a smaller short side}, [(unreadable name, reason)])."""
    smaller, unreadable = dict.fromkeys(RESOLUTIONS, 0), []
    for name in names:
        try:
            short = short_side(os.path.join(folder, name))
        except Mistake as error:
            unreadable.append((name, str(error)))
            continue
        for resolution in RESOLUTIONS:
            smaller[resolution] += short < resolution
    return smaller, unreadable


def short_side(path):
    """Pixels of the short side, from the header. Mistake: unreadable or incomplete file.

    A file is decoded only if it does not end with the bytes of its format."""
    try:
        size = require_file(path)
    except Mistake as error:
        raise Mistake(f"it {str(error).removeprefix(f'{path} ').partition(';')[0]}") from None
    try:
        with Image.open(path) as image:
            require_content(image, size)
            if not ends_well(path, image.format):
                image.load()
            return min(image.size)
    except Exception as error:  # PIL raises many types of errors for damaged files
        raise Mistake(fault_of(error)) from None


def ends_well(path, kind):
    """Whether the last bytes of a file hold the end mark of its format."""
    with open(path, "rb") as file:
        file.seek(-min(TAIL, os.path.getsize(path)), os.SEEK_END)
        return kind in ENDS and ENDS[kind] in file.read()
