"""Shards of small pictures whose pixels say their number, and shards with faults."""

import functools
import io
import json
import tarfile

import numpy as np
from PIL import Image

SIDE = 16


@functools.cache
def picture(number, kind="png"):
    """The bytes of a gray image: its first row says the number, its left column is white."""
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[2:, 0] = 255
    pixels[0, :] = number % 250  # the same after it was mirrored
    pixels[1, :] = number // 250
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind)
    return file.getvalue()


def number_of(image_CHW):
    """The number that a picture says (uint8, or float in [-1, 1])."""
    image = np.asarray(image_CHW)[0]
    if image.dtype != np.uint8:
        image = np.rint((image + 1) * 127.5).astype(int)
    return int(image[0, 5]) + 250 * int(image[1, 5])


def is_mirrored(image_CHW):
    return bool(image_CHW[0, -1, -1] > image_CHW[0, -1, 0])


def caption(number):
    """Of each four, one names a direction."""
    return f"picture {number}" + (" on the left" if number % 4 == 0 else "")


def sample(number, key=None, **record):
    """[(name, bytes)] of the members of a sample."""
    key = key or f"{number:06d}"
    record = {"caption": caption(number), "caption_type": "short"} | record
    return [(f"{key}.json", json.dumps(record).encode()), (f"{key}.png", picture(number))]


def write(path, members):
    """A tar of (name, bytes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def folder(root, train=(1, 7, 500), val=(3, 2)):
    """A folder of shards of these sizes; samples are numbered from 0 in both splits."""
    for split, sizes in (("train", train), ("val", val)):
        number = 0
        for i, size in enumerate(sizes):
            members = [m for n in range(number, number + size) for m in sample(n)]
            write(root / split / f"{i:03d}.tar", members)
            number += size
    return root
