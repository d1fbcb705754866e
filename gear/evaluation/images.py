"""Images to score, a batch at a time: a folder of image files, an archive as ADM publishes them, or
an array.

An archive is an .npz with arr_0, uint8 (N, H, W, 3), and, if any, labels as arr_1, (N,). It is read
through, never held: 50,000 images of 256 x 256 pixels are 9.8 GB. What is refused is one sentence.
"""

import math
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from gear.data import finding
from gear.data.transforms import open_image, pixels, validation_pixels
from gear.files import arrays
from gear.files.mistakes import Mistake


class Folder:
    """The images of a folder and its subfolders, in the order of their names.

    count, size (height, width) of all; classes: the subfolder of each, as a number where all are
    numbers, or None; left_out: Counter of what of the folder is not read."""

    def __init__(self, path, square=None):
        """square: pixels a side; files of other shapes are brought to it as in validation (short
        side by PIL's bicubic filter, the square in the middle). None: they are taken as they are.
        """
        self.path, self.square = Path(path), square
        self.names, self.left_out = finding.find_images(path)
        self.count = len(self.names)
        above = [Path(name).parent.as_posix() for name in self.names]
        self.classes = None if "." in above else _numbered(np.array(above))
        self.size = self._read(self.names[0]).shape[:2]

    @property
    def lossy(self):
        """The first of its files that is a JPEG, or None."""
        return next((n for n in self.names if Path(n).suffix.lower() in finding.LOSSY), None)

    def _read(self, name):
        if self.square:
            return validation_pixels(self.path / name, 3, self.square)
        return pixels(open_image(self.path / name, 3))

    def _checked(self, name):
        image = self._read(name)
        if image.shape[:2] != self.size:
            raise Mistake(
                f"{self.path / name} has {_by(image.shape)} pixels, {self.names[0]} has "
                f"{_by(self.size)}; give images of one size."
            )
        return image

    def batches(self, size):
        """uint8 (n, 3, H, W), `size` images a time."""
        with ThreadPoolExecutor() as pool:
            for i in range(0, self.count, size):
                yield _to_tensor(np.stack(list(pool.map(self._checked, self.names[i : i + size]))))


class Archive:
    """The images of an .npz; the same members as a Folder's."""

    lossy, left_out = None, Counter()

    def __init__(self, path):
        self.path = Path(path)
        with self._opened() as (_, shape, dtype):
            if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8 or 0 in shape:
                raise Mistake(
                    f"{path}: arr_0 is {dtype} of shape {shape}; images are uint8 (N, H, W, 3)."
                )
            self.count, self.size = shape[0], shape[1:3]
        self.classes = self._labels()

    @contextmanager
    def _opened(self):
        """Yields (file at the first number of arr_0, its shape, its dtype)."""
        with (
            arrays.opened(self.path) as archive,
            arrays.member(self.path, archive, "arr_0") as part,
        ):
            file, (shape, fortran, dtype) = part
            if fortran and len(shape) > 1:
                raise Mistake(f"{self.path}: arr_0 is in Fortran order; save it in C order.")
            yield file, shape, dtype

    def _labels(self):
        labels = arrays.read_arrays(self.path, ("arr_1",), optional=True).get("arr_1")
        if labels is None:
            return None
        if labels.shape != (self.count,) or labels.dtype.kind not in "iu":
            raise Mistake(
                f"{self.path}: arr_1 is {labels.dtype} of shape {labels.shape}; labels are whole "
                f"numbers, one for each of the {self.count} images."
            )
        return labels

    def batches(self, size):
        """uint8 (n, 3, H, W), `size` images a time."""
        with self._opened() as (file, shape, _):
            for i in range(0, self.count, size):
                n = min(size, self.count - i)
                yield _to_tensor(_exactly(self.path, file, (n, *shape[1:])))


class Array:
    """The images of an array or a tensor; the same members as a Folder's."""

    path, lossy, left_out, classes = "the array", None, Counter(), None

    def __init__(self, images):
        images = torch.as_tensor(images)
        if (
            images.dtype != torch.uint8
            or images.ndim != 4
            or images.shape[1] != 3
            or not len(images)
        ):
            raise Mistake(
                f"the array is {str(images.dtype).removeprefix('torch.')} of shape "
                f"{tuple(images.shape)}; images are uint8 (N, 3, H, W)."
            )
        self.images, self.count, self.size = images, len(images), tuple(images.shape[2:])

    def batches(self, size):
        """uint8 (n, 3, H, W), `size` images a time."""
        return iter(self.images.split(size))


def open_images(source, square=None):
    """The Folder or Archive at a path, or the Array of images. square: of a Folder."""
    if isinstance(source, np.ndarray | torch.Tensor):
        return Array(source)
    if not isinstance(source, str | os.PathLike):
        raise Mistake(f"{source!r} is no path and no array; name the images.")
    return _at_path(source, square)


def _at_path(path, square):
    if Path(path).is_dir():
        return Folder(path, square)
    if Path(path).suffix != ".npz" or not Path(path).exists():
        raise Mistake(f"{path} is no folder and no .npz file; name the images.")
    names = arrays.keys(path)
    if "arr_0" not in names:
        raise Mistake(
            f"{path} holds no images (arr_0), but {', '.join(names) or 'nothing'}; name an "
            "archive of images as ADM's, or a folder of them."
        )
    return Archive(path)


def _exactly(path, file, shape):
    """The next uint8 numbers of a member, in a shape."""
    wanted = math.prod(shape)
    with arrays.whole(path):
        data = file.read(wanted)
        if len(data) != wanted:
            raise EOFError("its images end early")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _to_tensor(images_NHWC):
    return torch.from_numpy(images_NHWC.transpose(0, 3, 1, 2).copy())


def _by(shape):
    return f"{shape[1]} x {shape[0]}"


def require_size(size, wanted, where):
    """Mistake unless images have the reference's height and width."""
    if tuple(size) != tuple(wanted):
        raise Mistake(
            f"{where} has images of {_by(size)} pixels, the reference's have {_by(wanted)}; "
            "resize the samples as their authors did, or name the reference of that resolution."
        )


def _numbered(names):
    """The numbers that all names of folders are; the names where they are not."""
    if not all(name.isascii() and name.isdecimal() and len(name) <= 18 for name in set(names)):
        return names
    return names.astype(np.int64)


def require_all_classes(samples, real, count):
    """Mistake where a class has no image.

    samples: a Folder, Archive or Array; real: the labels of the reference's images, or None; count:
    how many classes there must be, or None. Without both, an archive must have the labels up to its
    largest. Folders of samples that share no name with the reference's are shards, and no classes.
    """
    labels, folders = samples.classes, isinstance(samples, Folder)
    if labels is None:
        return
    have, wanted = set(labels.tolist()), ()
    if real is not None and not folders and real.dtype.kind == "U":
        real = None  # an archive's numbers do not say which of the reference's names they are
    if count is not None:
        wanted = range(count)
        if labels.dtype.kind == "U":
            wanted = [*sorted(have), *(f"number {n + 1}" for n in range(len(have), count))]
    elif real is not None:
        wanted = sorted(set(real.tolist()))
        if folders and have.isdisjoint(wanted):
            return _say_shards(samples, wanted)
    elif not folders:
        wanted = range(int(labels.max()) + 1)
    missing = [c for c in wanted if c not in have]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        cure = "draw all classes, because a metric of the others is another number"
        if folders:
            cure += "; or, where its folders are no classes, put the images into one folder"
        raise Mistake(f"{samples.path} has no image of class {missing[0]}{more}; {cure}.")


def _say_shards(samples, classes):
    print(
        f"gear: the folders of {samples.path} have other names than the reference's classes, such "
        f"as {classes[0]}; they count as parts of one set and not as classes.",
        file=sys.stderr,
    )


def watched(batches, count, size, what):
    """The same batches, with a bar on a terminal."""
    from tqdm import tqdm

    return tqdm(batches, what, -(-count // size), disable=None)
