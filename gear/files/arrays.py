"""Readers of .npz archives. What an array's header claims is compared with what the file holds
before memory is taken, so that a damaged or hostile header costs nothing.

Objects are never loaded, because that would run code of the file.
"""

import math
import zipfile
from contextlib import contextmanager

import numpy as np

from gear.files.mistakes import Mistake
from gear.files.reading import reason_of, require_file

CURE = "make or download it again"
LARGE, RATIO = 2**28, 200  # bytes and factor from which unpacking is refused as a bomb


@contextmanager
def whole(path, cure=CURE):
    """Turns the many types of errors of zipfile, its decompressors and numpy into a Mistake."""
    try:
        yield
    except (Mistake, MemoryError):
        raise
    except Exception as error:
        said = reason_of(error) or type(error).__name__
        raise Mistake(f"{path} is no complete .npz file ({said}); {cure}.") from None


@contextmanager
def opened(path, cure=CURE):
    """Yields the ZipFile of an .npz. Mistake: it is none; cure: the end of the message."""
    require_file(path, cure)
    with whole(path, cure):
        archive = zipfile.ZipFile(path)
    with archive:
        yield archive


def keys(path, cure=CURE):
    """Names of the arrays of an .npz. Mistake where it is none."""
    with opened(path, cure) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_arrays(path, names, cure=CURE, optional=False):
    """{name: array} of an .npz. Mistake: one is missing, or the file is damaged.

    optional: leave out what is missing."""
    found = {}
    with opened(path, cure) as archive:
        present = set(archive.namelist())
        for name in names:
            if f"{name}.npy" in present:
                found[name] = _read(path, archive, name, cure)
            elif not optional:
                raise Mistake(f"{path} has no array '{name}'; {cure}.")
    return found


def _read(path, archive, name, cure):
    with member(path, archive, name, cure):
        info = archive.getinfo(f"{name}.npy")
    if info.file_size > LARGE and info.file_size > RATIO * info.compress_size:
        raise Mistake(
            f"{path}: {name} unpacks from {info.compress_size:,} to {info.file_size:,} bytes; "
            f"{cure}."
        )
    with whole(path, cure), archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


@contextmanager
def member(path, archive, name, cure=CURE):
    """Yields (file at the first number of an array, (shape, in Fortran order?, dtype)).

    Mistake: there is no such array, or its header does not fit."""
    with whole(path, cure):
        info = archive.getinfo(f"{name}.npy")
        file = archive.open(info)
    with file:
        yield file, _header(path, file, name, info.file_size, cure)


def _header(path, file, name, held, cure):
    """(shape, in Fortran order?, dtype) at the beginning of an array's file.

    held: bytes of the file. Mistake: objects, or the shape is not that of as many bytes."""
    form = np.lib.format
    with whole(path, cure):
        version = form.read_magic(file)
        read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        try:
            shape, fortran, dtype = read(file)
        except MemoryError:  # of Python's parser, for a header that nests too deep
            raise Mistake(
                f"{path}: the header of {name} nests too deep to be an array's; {cure}."
            ) from None
        before = file.tell()
    if dtype.hasobject:
        raise Mistake(
            f"{path}: {name} holds objects of Python, which are not loaded because that could run "
            f"code; {cure}."
        )
    numbers = all(isinstance(n, int) and n >= 0 for n in shape)
    if not numbers or math.prod(shape) * dtype.itemsize != held - before or not dtype.itemsize:
        raise Mistake(
            f"{path} is no complete .npz file: {name} claims {dtype} of shape {shape!s:.60} and "
            f"holds {held - before:,} bytes; {cure}."
        )
    return shape, fortran, dtype
