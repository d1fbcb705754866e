"""The device that a command works on."""

import torch

from gear.files.mistakes import Mistake


def use(name=None):
    """torch.device of `name`, or cuda where there is one. Mistake: no such device here.

    Arithmetic is plain float32 on both: TF32 would move a token to its neighbour now and then, so
    that a GPU and a CPU would find different ones."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise Mistake(f"there is no device '{name}'; --device is cuda or cpu.") from None
    if device.type not in ("cuda", "cpu"):
        raise Mistake(f"device '{name}' is not supported; --device is cuda or cpu.")
    if device.type == "cuda":
        number = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= number:
            raise Mistake(
                f"--device {name} is asked for, but torch sees {number} GPUs here; "
                "leave --device out or give --device cpu."
            )
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return device
