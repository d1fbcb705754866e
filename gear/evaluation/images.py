"""Images to score, a batch at a time: a folder of image files, an archive as ADM publishes them, or
an array.

An archive is an .npz with arr_0, uint8 (N, H, W, 3), and, if any, labels as arr_1, (N,). It is read
through, never held: 50,000 images of 256 x 256 pixels are 9.8 GB. What is refused is one sentence.
"""

import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from gear.data.folder import find_images
from gear.data.transforms import open_image, pixels, validation_pixels
from gear.files.mistakes import Mistake

LOSSY = {".jpg", ".jpeg"}
TORN = (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


class Folder:
    """The images of a folder and its subfolders, in the order of their names.

    count, size (height, width) of all; classes: the subfolder of each, or None."""

    def __init__(self, path, square=None):
        """square: pixels a side; files of other shapes are brought to it as in validation (short
        side by PIL's bicubic filter, the square in the middle). None: they are taken as they are.
        """
        self.path, self.names, self.square = Path(path), find_images(path), square
        self.count = len(self.names)
        above = [Path(name).parent.as_posix() for name in self.names]
        self.classes = np.array(above) if "." not in above else None
        self.size = self._read(self.names[0]).shape[:2]

    @property
    def lossy(self):
        """The first of its files that is a JPEG, or None."""
        return next((n for n in self.names if Path(n).suffix.lower() in LOSSY), None)

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

    lossy = None

    def __init__(self, path):
        self.path = Path(path)
        with self._opened() as (_, shape, dtype):
            if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8 or 0 in shape:
                raise Mistake(
                    f"{path}: arr_0 is {dtype} of shape {shape}; images are uint8 (N, H, W, 3)."
                )
            self.count, self.size = shape[0], shape[1:3]
        self.classes = self._labels()

    def _opened(self):
        return _Member(self.path, "arr_0")

    def _labels(self):
        if "arr_1" not in keys(self.path):
            return None
        labels = arrays(self.path, "arr_1")["arr_1"]
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

    path, lossy, classes = "the array", None, None

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
    if "arr_0" not in keys(path):
        raise Mistake(
            f"{path} holds no images (arr_0), but {', '.join(keys(path)) or 'nothing'}; name an "
            "archive of images as ADM's, or a folder of them."
        )
    return Archive(path)


def keys(path):
    """Names of the arrays of an .npz. Mistake where it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except TORN as error:
        raise torn(path, error) from None


def arrays(path, *names):
    """{name: array} of an .npz. Mistake where one is missing or the file is torn."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except TORN as error:
        raise torn(path, error) from None


def torn(path, error):
    said = str(error).strip("'\"") or type(error).__name__
    return Mistake(f"{path} is no complete .npz file ({said}); make or download it again.")


class _Member:
    """An array of an .npz as (file at its first number, shape, dtype)."""

    def __init__(self, path, name):
        self.path, self.name = path, name

    def __enter__(self):
        try:
            self.archive = zipfile.ZipFile(self.path)
            self.file = self.archive.open(f"{self.name}.npy")
            version = np.lib.format.read_magic(self.file)
            read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, fortran, dtype = read(self.file)
        except TORN as error:
            raise torn(self.path, error) from None
        if fortran and len(shape) > 1:
            raise Mistake(f"{self.path}: {self.name} is in Fortran order; save it in C order.")
        return self.file, shape, dtype

    def __exit__(self, *_):
        self.file.close()
        self.archive.close()


def _exactly(path, file, shape):
    """The next uint8 numbers of a member, in a shape."""
    wanted = int(np.prod(shape))
    try:
        data = file.read(wanted)
        if len(data) != wanted:
            raise EOFError("its images end early")
    except TORN as error:
        raise torn(path, error) from None
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


def require_all_classes(classes, wanted, where):
    """Mistake where a class of `wanted` (None: the numbers up to the largest) has no image."""
    if classes is None:
        return
    have = set(classes.tolist())
    if wanted is None and classes.dtype.kind in "iu":
        wanted = range(int(classes.max()) + 1)
    missing = [c for c in dict.fromkeys(wanted if wanted is not None else ()) if c not in have]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise Mistake(
            f"{where} has no image of class {missing[0]}{more}; draw all classes, because a metric "
            "of the others is another number."
        )


def watched(batches, count, size, what):
    """The same batches, with a bar on a terminal."""
    from tqdm import tqdm

    return tqdm(batches, what, -(-count // size), disable=None)
