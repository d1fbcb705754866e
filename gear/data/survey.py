"""What can be said of a class folder's files without decoding them all; runs in many processes.

No torch here, so that a process starts in no time.
"""

import os

from PIL import Image

from gear.data.folder import SUFFIXES
from gear.data.transforms import open_image
from gear.files.mistakes import Mistake

RESOLUTIONS = (256, 384, 512)
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}  # what a whole file has close to its end
TAIL = 4096  # bytes that are searched for it; some writers append a few of their own


def is_image(entry):
    name = entry.name
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def try_one(folder):
    """Decode one image of a class folder. Mistake: it has none, or that one is damaged."""
    with os.scandir(folder) as entries:
        entry = next(filter(is_image, entries), None)
    if entry is None:
        raise Mistake(f"{folder} holds no images; remove it or fill it.")
    open_image(entry.path, 3)


def list_images(folder):
    """Sorted names of a folder's images."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in filter(is_image, entries))


def examine(folder, names):
    """({resolution: images with a smaller short side}, [(name, why it cannot be read)])."""
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
    """Pixels on the short side, from the header. Mistake: unreadable, or cut short.

    Only a file that does not end as its format does is decoded, to see whether it is whole."""
    try:
        with Image.open(path) as image:
            if not ends_well(path, image.format):
                image.load()
            return min(image.size)
    except Exception as error:  # for damaged files PIL's readers raise nearly anything
        raise Mistake(" ".join(str(error).split()) or type(error).__name__) from None


def ends_well(path, kind):
    with open(path, "rb") as file:
        file.seek(-min(TAIL, os.path.getsize(path)), os.SEEK_END)
        return kind in ENDS and ENDS[kind] in file.read()
