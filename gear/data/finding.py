"""Which files of a folder are images, in which order, and what of the folder is not read.

All readers have these rules:

- an image is a visible file whose name ends in one of SUFFIXES; of a file with several pictures
  the first is read
- linked files and folders are followed; a folder is read once, so that links in a circle end
- names are in the order of their text; class folders whose names are all numbers are in the order
  of the numbers
- the files that are not read are counted by the reason, and the reader says so

This module imports no torch, so that the processes which survey a data set start quickly.
"""

import os
import re
import sys
from collections import Counter
from pathlib import Path

from gear.files.mistakes import Mistake

LOSSY = {".jfif", ".jpeg", ".jpg"}
SUFFIXES = LOSSY | {".bmp", ".gif", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def _reason(entry):
    """Why an entry of a folder is not read as an image, or None."""
    if entry.name.startswith("."):
        return "hidden"
    if entry.is_dir():
        return "folder"
    suffix = os.path.splitext(entry.name)[1].lower()
    return None if suffix in SUFFIXES else suffix or "without an ending"


def list_images(folder):
    """(sorted names of a folder's own images, Counter {reason: entries that are not read})."""
    names, left_out = [], Counter()
    with os.scandir(folder) as entries:
        for entry in entries:
            reason = _reason(entry)
            if reason is None:
                names.append(entry.name)
            else:
                left_out[reason] += 1
    return sorted(names), left_out


def no_files(folder):
    """The sorted names of entries that are read as images and are no files, such as pipes."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if _reason(e) is None and not e.is_file())


def find_images(folder):
    """(sorted paths, relative to the folder, of the images in it and in its subfolders; Counter of
    what is not read). Mistake: no folder, or no images."""
    root = Path(folder)
    if not root.is_dir():
        raise Mistake(f"{root} is no folder; name the folder of the images.")
    names, left_out, seen, waiting = [], Counter(), {_identity(root)}, [root]
    while waiting:
        inside = waiting.pop()
        own, others = list_images(inside)
        above = inside.relative_to(root)
        names += [(above / name).as_posix() for name in own]
        del others["folder"]
        left_out += others
        for below in sorted(_folders(inside), key=lambda p: (p.is_symlink(), p.name)):
            if _identity(below) in seen:
                left_out["link to a folder that is read already"] += 1
            else:
                seen.add(_identity(below))
                waiting.append(below)
    if not names:
        found = f", but {said(left_out)}" if left_out else ""
        raise Mistake(f"{root} holds no images ({', '.join(sorted(SUFFIXES))}){found}; add some.")
    return sorted(names), left_out


def _identity(folder):
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _folders(folder):
    return [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]


def said(left_out):
    """'3 .heic, 1 hidden' of a Counter of what was not read."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))


def warn(folder, left_out):
    """Say on stderr what of a folder is not read; nothing where all is."""
    if left_out:
        print(
            f"gear: warning: {folder}: {sum(left_out.values())} entries are not read as images "
            f"({said(left_out)}).",
            file=sys.stderr,
        )


def by_number(name):
    """A key by which 2.png comes before 10.png; all else is in the order of the text."""
    parts = re.findall(r"[0-9]+|[^0-9]", name)
    return [(48, int(part)) if "0" <= part[0] <= "9" else (ord(part), 0) for part in parts], name


def in_order_of_labels(names):
    """Class names so that the position of each is its label: by number where all are numbers."""
    names = list(names)
    if all(re.fullmatch("[0-9]{1,18}", name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def out_of_order(names):
    """(a, b) of sorted names, where b has the smaller number and follows a, or None."""
    for a, b in zip(names, sorted(names, key=by_number), strict=True):
        if a != b:
            return a, b
    return None
