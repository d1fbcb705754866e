"""The device that a process works on, and how its arithmetic is set up: here and nowhere else."""

import os

import torch

from gear.files.mistakes import Mistake
from gear.runtime import distributed, rng


def set_tf32(convolutions):
    """TF32 on a GPU: of float32 convolutions where they ask for it, of matrix products never. A
    product of scores in TF32 could move a token to its neighbour."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = convolutions


def setup(settings):
    """Threads, determinism, TF32 and group of this process, before any tensor is made.

    On the CPU torch's operations here are deterministic as they are; the switch would only load
    the compiler, 6 s a process."""
    distributed.start()
    if settings.runtime.threads:
        torch.set_num_threads(settings.runtime.threads)
    if torch.cuda.is_available():
        set_tf32(settings.runtime.tf32)
        # without it cuBLAS may sum in another order each time
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    rng.seed_torch(settings.seed, "weights")


def use(name=None):
    """torch.device of `name`, or cuda where there is one. Mistake: no such device here.

    What is drawn, scored or exported there is in plain float32, whatever a training is in: TF32
    would move a token to its neighbour now and then, so that a GPU and a CPU would differ."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise Mistake(f"there is no device '{name}'; `device` is cuda or cpu.") from None
    if device.type not in ("cuda", "cpu"):
        raise Mistake(f"device '{name}' is not supported; `device` is cuda or cpu.")
    if device.type == "cuda":
        number = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= number:
            raise Mistake(
                f"`device` {name} is asked for, but torch sees {number} GPUs here; "
                "leave `device` out or give `device` cpu."
            )
        set_tf32(False)
    return device
