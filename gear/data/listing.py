"""The list of an image folder's files, which every job reads.

The file `files.txt.gz` is in the folder of `manifest.json`. It has a line `<split>/<class>/<file>`
for each image: first train, then val, with classes in the order of their labels and files sorted
by name. The manifest states the sha256 of the text, the classes and the number of images of each;
labels follow from these numbers. A manifest without `classes` has them in the order of their text.
"""

import gzip
import hashlib
import io
import os
import zlib
from pathlib import Path

import numpy as np

from gear.files.mistakes import Mistake
from gear.files.reading import read_bytes, read_record, required

SPLITS = ("train", "val")
FILE = "files.txt.gz"
LARGEST = 10**9  # images of a class
LINE = 1024  # bytes of the longest line: Linux allows 255 for the name of a class or file
AGAIN = "remove it and make it again with the rule prepare_data"


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
    """The files of one split: `labels` (N,) int64, `classes`, the name of each label, and name(i),
    `<class>/<file>` of image i.

    The text stays one block of bytes: a million separate strings take 100 MB per process."""

    def __init__(self, manifest, split, data):
        """manifest: path of manifest.json; data: config.Data. Mistake: they do not agree."""
        content = read_record(manifest)
        if not {"path", "images", "listing"} <= set(content):
            raise Mistake(
                f"{manifest} lists no files; it is of another kind of data or of an older version: "
                "remove it and make it again with the rule prepare_data."
            )
        if content["path"] != data.path:
            raise Mistake(
                f"{manifest} is of {content['path']}, but data.path is {data.path}; remove it and "
                "make it again with the rule prepare_data."
            )
        counts = {s: counts_of(content, s, manifest) for s in SPLITS}
        self.classes = _classes(content, counts[split], manifest)
        if len(self.classes) != data.classes:
            raise Mistake(
                f"{manifest} lists {len(self.classes)} classes, but data.classes is "
                f"{data.classes}; correct data.classes, or {AGAIN}."
            )
        place = split
        if "places" in content:
            places = required(content, "places", dict, manifest, AGAIN)
            place = required(places, split, str, manifest, AGAIN)
        self.folder, self.split = f"{data.path}/{place}" if place else data.path, split
        numbers = {s: sum(counts[s].values()) for s in SPLITS}
        before = sum(numbers[s] for s in SPLITS[: SPLITS.index(split)])
        record = required(content, "listing", dict, manifest, AGAIN)
        digest = required(record, "sha256", str, manifest, AGAIN)
        self._text = read_text(Path(manifest).parent / FILE, digest, sum(numbers.values()))
        of_class = [counts[split][name] for name in self.classes]
        self.labels = np.repeat(np.arange(len(of_class)), of_class)
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


def counts_of(content, split, manifest):
    """{class: number of images} of a split. Mistake: the manifest has no such numbers."""
    images = required(content, "images", dict, manifest, AGAIN)
    counts = required(images, split, dict, manifest, AGAIN)
    for name in counts:
        if not 0 <= required(counts, name, int, manifest, AGAIN) < LARGEST:
            raise Mistake(f"{manifest}: class '{name}' has {counts[name]} images; {AGAIN}.")
    return counts


def _classes(content, counts, manifest):
    """The names of the classes in the order of their labels."""
    if "classes" not in content:
        return sorted(counts)
    names = required(content, "classes", list, manifest, AGAIN)
    if any(not isinstance(name, str) for name in names) or sorted(names) != sorted(counts):
        raise Mistake(f"{manifest} names other classes than it counts images of; {AGAIN}.")
    return names


def read_text(path, digest, lines):
    """The bytes of a listing of so many lines. Mistake: missing, or another sha256."""
    data, limit = read_bytes(path, "make it again with the rule prepare_data"), LINE * lines + 1
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(limit)
    except (OSError, EOFError, zlib.error):
        text = b""
    if hashlib.sha256(text).hexdigest() != digest or text.count(b"\n") != lines:
        raise Mistake(
            f"{path} is not the list that its manifest.json states; remove both and make them "
            "again with the rule prepare_data."
        )
    return text
