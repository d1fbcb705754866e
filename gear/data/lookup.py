"""What a frozen network makes of each image of a set, kept on disk (`data.lookup`).

The images are in memory and no step changes them, so the values of an image are the same in every
step. The first job makes those of all images, in batches as large as its micro-batches, because
rounding may depend on a batch's shape. It keeps them in a hidden file beside the network's weights;
later jobs read them there. Every job makes the first batch and compares it, bit by bit.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from gear.data.memory import Batch, to_device
from gear.files.aside import aside
from gear.files.hashes import sha256_once
from gear.files.mistakes import Mistake
from gear.runtime import distributed
from gear.runtime.progress import say

DIGITS = 12  # of a hash in the name of a file


def looked_up(name, folder, make, trainer, data):
    """A function as `make`, whose values come from a file; where data.lookup is false, `make`.

    make: function of a micro-batch (Batch, B images) that gives a tensor (B, ...), int64 or floats,
    which the file gives back as float32. name: of the values; folder: of the network's weights;
    data: gear.data.memory.ImageSet. A file that cannot be written, or not be read, costs time only:
    then `make` itself is the result."""
    settings = trainer.settings
    if not settings.data.lookup:
        return make
    size = settings.runtime.micro_batch or settings.optim.batch // distributed.size()

    def values(begin):
        cut = slice(begin, begin + size)
        numbers = np.arange(len(data.images))[cut]
        (part,) = Batch(data.images[cut], data.labels[cut], numbers, 0).parts(0, trainer.device)
        rows = make(part)
        return (rows.float() if rows.is_floating_point() else rows).cpu().numpy()

    weights = sha256_once(f"{folder}/weights.safetensors")[:DIGITS]
    file = Path(folder) / f".{name}-{weights}-{_key(settings, size, trainer.device, data)}.npy"
    first = values(0)
    shape = (len(data.images), *first.shape[1:])
    rows = _read(file, shape, first)
    if distributed.rank() == 0 and rows is None:
        _keep(file, shape, first, values, f".{name}-{weights}-")
    distributed.highest(0)  # the other processes wait here for the file
    rows = _read(file, shape, first) if rows is None else rows
    if rows is None:
        say(f"{file} cannot be kept, so each step computes its values")
        return make
    return lambda part: to_device(torch.from_numpy(np.array(rows[part.indices])), trainer.device)


def _key(settings, size, device, data):
    """A hash of what decides the values beside the weights."""
    runtime = settings.runtime
    facts = [runtime.precision, runtime.frozen_precision, runtime.tf32, settings.kernels, size]
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    facts += [torch.__version__, device.type, gpu, data.images.shape]
    digest = hashlib.sha256(json.dumps(facts).encode())
    digest.update(data.images.numpy())
    return digest.hexdigest()[:DIGITS]


def _read(file, shape, first):
    """The rows of a file, read when needed; None: it is not there, or has other values."""
    try:
        rows = np.load(file, mmap_mode="r")  # a file that was cut is an error
        good = rows.shape == shape and rows.dtype == first.dtype
        return rows if good and np.array_equal(rows[: len(first)], first) else None
    except Exception:  # numpy raises many types of errors for damaged files
        return None


def _keep(file, shape, first, values, current):
    """Write a file, and remove those of earlier weights, whose names do not begin with `current`.

    An error is ignored. values(begin): the rows of the batch that begins with this image."""
    count, size = shape[0], len(first)
    header = {"descr": first.dtype.str, "fortran_order": False, "shape": shape}
    try:
        with aside(file) as part, open(part, "wb") as handle:
            np.lib.format.write_array_header_1_0(handle, header)
            handle.write(first.tobytes())
            for begin in range(size, count, size):
                whole = min(begin, count - size)  # the last batch is a whole one too
                handle.write(values(whole)[begin - whole :].tobytes())
        for old in file.parent.glob(f"{current.partition('-')[0]}-*.npy"):
            if not old.name.startswith(current):
                old.unlink(missing_ok=True)
    except (OSError, Mistake):
        pass
