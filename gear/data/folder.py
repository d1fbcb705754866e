"""Image folders, `root/<split>/<class>/<image>`, that fit in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gear.data.digits import folder_digest
from gear.data.finding import in_order_of_labels, list_images
from gear.data.transforms import MODES, open_image, pixels
from gear.files.mistakes import Mistake, counted, some
from gear.files.reading import read_record, required

if TYPE_CHECKING:
    import torch


def load_folder(
    root: str | Path, split: str, channels: int, size: int, classes: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """(images (N, C, H, W) uint8, labels (N,) int64, names `class/file`) of a split.

    Classes and the files of a class are in the order of gear.data.finding. A label is the position
    of its class in that order. Images must already have the size; they are not resized here. The
    decoded images are kept in a hidden file of `root`, because decoding would cost a small job a
    second.
    Mistake: wrong channels, missing folder or images, other classes, another image size.
    """
    import torch

    if channels not in MODES:
        raise Mistake(f"channels is {channels}; set it to 1 (gray) or 3 (colour).")
    folder = Path(root) / split
    names, labels = [], []
    for label, class_folder in enumerate(class_folders(folder, classes)):
        images = list_images(class_folder)[0]
        if not images:
            raise Mistake(f"{class_folder} holds no images; remove it or fill it.")
        names += [f"{class_folder.name}/{name}" for name in images]
        labels += [label] * len(images)
    cache = Path(root) / f".decoded-{split}-{channels}x{size}.npy"
    images_NHWC = _still_good(cache, folder, names, (len(names), size, size, channels))
    if images_NHWC is None:
        images_NHWC = np.empty((len(names), size, size, channels), dtype=np.uint8)
        for i, name in enumerate(names):
            images_NHWC[i] = read_image(folder / name, channels, size)
        _keep(cache, images_NHWC)
    images_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).contiguous()
    return images_NCHW, torch.tensor(labels, dtype=torch.int64), names


def _still_good(cache: Path, folder: Path, names: list[str], shape: tuple) -> np.ndarray | None:
    """The images in the cache file, or None if a file or class folder is newer."""
    classes = {name.partition("/")[0] for name in names}
    try:
        # text, because a Path of each file takes ten times as long as asking for its time
        newest = max(os.stat(f"{folder}/{name}").st_mtime_ns for name in (*names, *classes))
        if cache.stat().st_mtime_ns <= newest:
            return None
        images = np.load(cache, mmap_mode="r")  # reads no more than the header
        good = images.shape == shape and images.dtype == np.uint8
        return np.array(images) if good else None
    except Exception:  # numpy raises many types of errors for damaged files
        return None


def _keep(cache: Path, images: np.ndarray) -> None:
    """Write the cache file of decoded images. An error is ignored: the cache only saves time."""
    from gear.files.aside import aside

    try:
        with aside(cache) as part, open(part, "wb") as handle:
            np.save(handle, images)
    except (OSError, Mistake):
        pass


def visible(folder: Path) -> list[Path]:
    """The entries of a folder that are not hidden."""
    return [p for p in folder.iterdir() if not p.name.startswith(".")]


def class_folders(folder: Path, classes: int | None) -> list[Path]:
    """The class folders of a split in the order of their labels.

    Mistake: none, or another number."""
    if not folder.is_dir():
        raise Mistake(
            f"{folder} does not exist; put the class folders there, or correct settings.data.path."
        )
    names = in_order_of_labels(p.name for p in visible(folder) if p.is_dir())
    folders = [folder / name for name in names]
    if not folders:
        raise Mistake(
            f"{folder} has no class folders; put its images into one folder for each class."
        )
    require_classes(folder, folders, classes)
    return folders


def require_classes(folder, folders, classes):
    """Mistake unless a split's class folders are as many as `classes`; None: any number."""
    count = len(folders)
    if classes is None or count == classes:
        return
    more = count - classes
    cure = f"remove {'one' if more == 1 else more}" if more > 0 else f"add {-more}"
    raise Mistake(
        f"{folder} has {counted(count, 'class folder')} ({some([p.name for p in folders])}), but "
        f"settings.data.classes is {classes}: set it to {count}, or {cure}."
    )


def class_names(root: str | Path, split: str, classes: int | None) -> list[str]:
    """The names of a split's classes, in the order of their labels."""
    return [p.name for p in class_folders(Path(root) / split, classes)]


def read_image(path: Path, channels: int, size: int) -> np.ndarray:
    """(size, size, channels) uint8 of an image file. Mistake: unreadable, or another size."""
    image = open_image(path, channels)
    require_size(image, size, path)
    return pixels(image)


def require_size(image, size, path):
    """Mistake unless a PIL image is a square of `size` pixels a side."""
    if image.size != (size, size):
        width, height = image.size
        raise Mistake(
            f"data.hold: memory takes images of {size} x {size} pixels as they are, but {path} has "
            f"{width} x {height}; set settings.data.hold: stream, which crops images of any size."
        )


def manifest_digest(root: str | Path) -> str:
    """The sha256 in root/manifest.json. Mistake: the files have another sha256."""
    path = Path(root) / "manifest.json"
    record = read_record(path, "prepare the data again", "prepare the data first")
    digest = required(record, "sha256", str, path, "prepare the data again")
    if folder_digest(root) != digest:
        raise Mistake(
            f"the images in {root} are not those that its manifest.json describes; "
            "prepare the data again."
        )
    return digest
