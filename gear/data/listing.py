"""The list of an image folder's files, which every job reads.

The file `files.txt.gz` is in the folder of `manifest.json`. It has a line `<split>/<class>/<file>`
for each image: first train, then val, with classes and files sorted by name. The manifest states
the sha256 of the text and the number of images of each class; labels follow from these numbers.
"""

import gzip
import hashlib
import os
import zlib
from pathlib import Path

import numpy as np

from gear.files.mistakes import Mistake

SPLITS = ("train", "val")
FILE = "files.txt.gz"


def write_listing(folder, files):
    """{file, sha256, files} of the list of files, which is written here.

    files: {split: {class: sorted file names}}. Mistake: a name has a line break."""
    from gear.files.aside import aside

    lines = [f"{s}/{c}/{name}" for s in SPLITS for c, names in files[s].items() for name in names]
    for line in lines:
        if "\n" in line:
            raise Mistake(f"{line!r} has a line break in its name; rename that file.")
    text = os.fsencode("".join(f"{line}\n" for line in lines))
    with aside(Path(folder) / FILE) as part:
        part.write_bytes(gzip.compress(text, mtime=0))
    return {"file": FILE, "sha256": hashlib.sha256(text).hexdigest(), "files": len(lines)}


class Listing:
    """The files of one split: `labels` (N,) int64, and name(i), `<class>/<file>` of image i.

    The text stays one block of bytes: a million separate strings take 100 MB per process."""

    def __init__(self, manifest, split, data):
        """manifest: path of manifest.json; data: config.Data. Mistake: they do not agree."""
        from gear.files.reading import read_record

        content = read_json(manifest)
        if not isinstance(content, dict) or not {"path", "images", "listing"} <= set(content):
            raise Mistake(
                f"{manifest} lists no files; it is of another kind of data or of an older version: "
                "remove it and make it again with the rule prepare_data."
            )
        if content["path"] != data.path:
            raise Mistake(
                f"{manifest} is of {content['path']}, but data.path is {data.path}; remove it and "
                "make it again with the rule prepare_data."
            )
        counts = content["images"][split]
        if len(counts) != data.classes:
            raise Mistake(
                f"{manifest} lists {len(counts)} classes, but data.classes is {data.classes}; "
                "correct data.classes or prepare the data again."
            )
        self.folder, self.split = f"{data.path}/{split}", split
        self.labels = np.repeat(np.arange(len(counts)), [counts[c] for c in sorted(counts)])
        before = sum(sum(content["images"][s].values()) for s in SPLITS[: SPLITS.index(split)])
        record = content["listing"]
        self._text = read_text(Path(manifest).parent / record["file"], record)
        ends = np.flatnonzero(np.frombuffer(self._text, np.uint8) == ord("\n"))
        self._ends = ends[before : before + len(self.labels)]
        self._begins = np.concatenate([[-1], ends])[before : before + len(self.labels)] + 1

    def __len__(self):
        return len(self.labels)

    def name(self, number):
        """`<class>/<file>` of the image with this number in the list."""
        line = os.fsdecode(self._text[self._begins[number] : self._ends[number]])
        return line[len(self.split) + 1 :]

    def path(self, number):
        """The path of the image with this number in the list."""
        return f"{self.folder}/{self.name(number)}"


def read_text(path, record):
    """The bytes of a listing. Mistake: missing, or another sha256."""
    try:
        text = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise Mistake(f"{path} is missing; make it again with the rule prepare_data.") from None
    except (OSError, EOFError, zlib.error):
        text = b""
    if hashlib.sha256(text).hexdigest() != record["sha256"]:
        raise Mistake(
            f"{path} is not the list that its manifest.json states; remove both and make them "
            "again with the rule prepare_data."
        )
    return text
