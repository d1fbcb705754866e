"""The device of a process and its arithmetic (TF32, determinism), set only here."""

import contextlib
import ctypes
import os

import torch

from gear.files.mistakes import Mistake
from gear.runtime import distributed, rng


def set_tf32(convolutions):
    """Switch TF32 on or off for float32 convolutions, and off for matrix products.

    The scores of the codes are a matrix product. In TF32 a token could get a neighbouring code."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = convolutions


def autocast(device, precision):
    """The autocast context of forward passes on a torch.device: bfloat16 if precision is bf16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def keep_freed_memory():
    """Let this process keep the memory of freed tensors below 32 MiB, as far as 256 MiB.

    By itself glibc gives it back to the system and takes it again in the next step. In the demo
    that is about 7 % of a tokenizer step. Other C libraries are left as they are."""
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(mmap_threshold, 2**25)
        library.mallopt(trim_threshold, 2**28)


def setup(settings):
    """Set threads, determinism, TF32, process group and random seed, before any tensor is made.

    On the CPU the operations in use are deterministic without torch's switch. The switch would load
    the compiler, which takes 6 s per process."""
    distributed.start()
    if settings.runtime.threads:
        torch.set_num_threads(settings.runtime.threads)
    if torch.cuda.is_available():
        set_tf32(settings.runtime.tf32)
        # without this variable cuBLAS may sum in another order each time
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    else:
        keep_freed_memory()
    rng.seed_torch(settings.seed, "weights")


def use(name=None):
    """The torch.device of `name`; without a name cuda if there is one, else cpu.

    TF32 is switched off: samples, scores and exports are computed in plain float32. With TF32 some
    tokens would get a neighbouring code, and GPU and CPU would differ.
    Mistake: this machine has no such device."""
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
