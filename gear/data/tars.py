"""Tar files of captioned images: what a shard holds, and bytes read at their offsets.

A sample is the members of one key, side by side in the tar: `{key}.json` and `{key}.jpg`, `.jpeg`
or `.png`. The key ends at the first dot of the file's name, as the webdataset library has it. This
module does not import torch, so the processes that use it start quickly.
"""

import hashlib
import json
import os
import re
import tarfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gear.files.mistakes import Mistake
from gear.files.reading import reason_of, require_file

IMAGES = ("jpg", "jpeg", "png")
KEY = re.compile(r"^((?:.*/)?[^./]+)\.([^/]+)$", re.DOTALL)
# A sample's row: the places of its json and its image in the shard, their sizes in bytes, and how
# far before the json its header begins. 28 bytes, so 2.8 GB for 100 million samples, read through a
# memory map.
SIZES = ("json_size", "image_size", "head")
ROW = np.dtype([("json", "<i8"), ("image", "<i8"), *((name, "<u4") for name in SIZES)])
LONGEST = 2**24  # bytes of a json
LARGEST = 2**30  # bytes of an image
KEPT = 128  # shards that a process keeps open
BLOCK, BLOCKS = 4096, 16  # of a file's probe
DAMAGED = "copy it again, or remove it"


class Found(NamedTuple):
    """What a shard holds."""

    rows: np.ndarray  # (N,) of ROW, in the tar's order
    skipped: list  # (key, reason) of the samples that cannot be used
    ignored: Counter  # {reason: members that are no part of a sample}
    captions: Counter  # {empty | no text: samples whose caption is ""}


def caption_of(data):
    """(caption, None | 'empty' | 'no text') of the bytes of a sample's json.

    A caption that is missing, null, empty or not a text becomes "". Mistake: the bytes are not a
    JSON mapping."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):  # also an integer of thousands of digits
        record = None
    if not isinstance(record, dict):
        raise Mistake("it is no JSON with a caption")
    text = record.get("caption")
    if text is not None and not isinstance(text, str):
        return "", "no text"
    if text is None or not text.strip():
        return "", "empty"
    # a half of a surrogate pair, which JSON may have and UTF-8 has not, becomes U+FFFD
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), None


def examine(path):
    """The Found of a shard. Mistake: it is cut off, empty, damaged or of another format."""
    size = require_file(path, DAMAGED)
    found = Found([], [], Counter(), Counter())
    with open(path, "rb") as file:
        key, members, seen = None, [], set()
        for member in _members(path, file, size):
            own = _key_of(member)
            if own is None:
                found.ignored[_reason(member)] += 1
            elif own[0] == key:
                members.append((own[1], member))
            else:
                _close(found, key, members, seen, file)
                key, members = own[0], [(own[1], member)]
        _close(found, key, members, seen, file)
    if not found.rows and not found.skipped:
        raise Mistake(f"{path} holds no samples (key.json with key.jpg or key.png); remove it.")
    return found._replace(rows=np.array(found.rows, ROW))


def _members(path, file, size):
    """Yields the members of a tar. Mistake: as of `examine`."""
    if not size:
        raise Mistake(f"{path} is empty; {DAMAGED}.")
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while member := tar.next():
                yield member
                tar.members = []  # it would keep all
            end = tar.offset
    except (tarfile.TarError, OSError, ValueError) as error:
        if "unexpected end" in str(error):
            raise Mistake(f"{path} is cut off; {DAMAGED}.") from None
        raise Mistake(
            f"{path} is no tar file ({reason_of(error)}); a shard is a tar that is not compressed."
        ) from None
    # tarfile ends at a damaged header, and where the file is cut off between two members
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise Mistake(f"{path} is cut off: a tar's last block is missing; {DAMAGED}.")
    if any(block):
        raise Mistake(f"{path} is damaged at byte {end}; {DAMAGED}.")
    if any(file.read(2**20)):
        raise Mistake(f"{path} goes on after a tar's end at byte {end}; make one tar of it.")


def _key_of(member):
    """(key, ending) of a member that may be a part of a sample, or None."""
    match = KEY.match(member.name)
    if match is None or not member.isreg() or member.issparse():
        return None
    ending = match[2].lower()
    return (match[1], ending) if ending in ("json", *IMAGES) else None


def _reason(member):
    """Why a member is no part of a sample."""
    name = member.name.rpartition("/")[2]
    if member.isdir():
        return "folder"
    if not member.isreg() or member.issparse():
        return "link or device"
    if name.startswith("."):
        return "hidden"
    return f".{name.partition('.')[2].lower()[:40]}" if "." in name else "without an ending"


def _close(found, key, members, seen, file):
    """Add the sample of the members of one key, or the reason why there is none."""
    if not members:
        return
    texts = [m for ending, m in members if ending == "json"]
    images = [m for ending, m in members if ending != "json"]
    fault = _fault(texts, images, key in seen)
    seen.add(key)
    if fault is None:
        file.seek(texts[0].offset_data)
        try:
            kind = caption_of(file.read(texts[0].size))[1]
        except Mistake:
            fault = "json that cannot be read"
    if fault is not None:
        found.skipped.append((key, fault))
        return
    if kind:
        found.captions[kind] += 1
    text, image = texts[0], images[0]
    found.rows.append(
        (text.offset_data, image.offset_data, text.size, image.size, text.offset_data - text.offset)
    )


def _fault(texts, images, seen):
    """Why members of one key are no sample, or None. seen: the key was in the shard before."""
    if not texts or not images:
        apart = ", apart from its key" if seen else ""
        return ("image without json" if images else "json without image") + apart
    if seen or len(texts) > 1:
        return "key that is there twice"
    if len(images) > 1:
        return "two images"
    if not images[0].size:
        return "image that is empty"
    if texts[0].size > LONGEST or images[0].size > LARGEST:
        return "member that is too large"
    return None


def probe(path):
    """A hash (32 hex digits) of a file's length and of blocks of bytes spread over the file.

    It reads 64 KiB. A copy of a file has the same hash, whatever its time says; a file that was
    made anew has another one. A few bytes that were changed in place may not change the hash."""
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for place in np.linspace(0, max(0, size - BLOCK), BLOCKS).astype(np.int64):
            file.seek(place)
            digest.update(file.read(BLOCK))
    return digest.hexdigest()[:32]


class Files:
    """Shards that are open, the last KEPT that were read from."""

    def __init__(self, check=None):
        """check(path): called before a shard is opened for the first time."""
        self._open, self._checked, self._check = OrderedDict(), set(), check

    def read(self, path, offset, size):
        """`size` bytes of a shard. Mistake: it is missing, shorter, or cannot be read."""
        try:
            data = os.pread(self.open(path), size, offset)
        except OSError as error:
            raise Mistake(f"{path} cannot be read ({error.strerror}); {DAMAGED}.") from None
        if len(data) < size:
            raise Mistake(f"{path} is shorter than when it was indexed; {DAMAGED}.")
        return data

    def open(self, path):
        """The descriptor of a shard, which is checked and opened where it is not open."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if self._check and path not in self._checked:
            self._check(path)
            self._checked.add(path)
        require_file(path, DAMAGED)
        if len(self._open) >= KEPT:
            os.close(self._open.popitem(last=False)[1])
        self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._open[path]

    def __del__(self):
        for descriptor in self._open.values():
            os.close(descriptor)


def key_at(path, offset):
    """The key of the sample whose json's header begins at `offset`. Mistake: there is none."""
    with open(path, "rb") as file:
        file.seek(offset)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                return KEY.match(tar.next().name)[1]
        except (tarfile.TarError, TypeError, AttributeError):
            raise Mistake(f"{path} has no json at byte {offset}; {DAMAGED}.") from None


def shards_of(folder):
    """The sorted names of a folder's shards, *.tar. Mistake: no folder, or no shards."""
    folder = Path(folder)
    if not folder.is_dir():
        raise Mistake(
            f"{folder} does not exist; put the shards there, or correct data.path of the stage t2i."
        )
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    shards = [name for name in names if name.lower().endswith(".tar")]
    if not shards:
        others = f", but {names[0]}" if names else ""
        raise Mistake(f"{folder} holds no shards (*.tar){others}; put them there, unpacked.")
    for name in shards:
        if not name.isprintable():
            raise Mistake(f"{folder} holds {name!r}, whose name is no plain text; rename it.")
    return shards
