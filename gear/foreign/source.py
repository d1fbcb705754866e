"""Readers of foreign weight files. They never run code from a file.

- .pt, .pth, .ckpt: torch.load with weights_only. The file is memory-mapped, so unused parts (the
  optimizer states, two thirds of a published checkpoint) are not read
- .safetensors: a flat dictionary
"""

import argparse
import pickle
import re
import zipfile
from pathlib import Path

from gear.files.mistakes import Mistake
from gear.files.reading import require_file

TORCH = (".pt", ".pth", ".ckpt")
# The only class that a file may hold besides tensors, numbers, text and the containers that torch
# allows. GEAR's files hold `args`, a Namespace of plain values.
PLAIN = [argparse.Namespace]


def read(path):
    """The content of a weight file.

    Mistake: the file is missing, damaged or of another kind, or needs code of its own."""
    path = Path(path)
    require_file(path, "download the weights there, or correct the path")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix in TORCH:
        content = _torch(path)
        if isinstance(content, dict):
            for part in (content, *(v for v in content.values() if isinstance(v, dict))):
                _require_plain(part, path)
        return content
    raise Mistake(
        f"{path} is no file of weights by its name; those end in {', '.join(TORCH)} or "
        ".safetensors."
    )


def _require_plain(tensors, path):
    """Mistake where a tensor of a mapping has no name, or is not stored number by number."""
    import torch

    for key, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            continue
        kinds = {"sparse": value.layout != torch.strided, "quantized": value.is_quantized}
        kinds |= {"without numbers (meta)": value.is_meta}
        fault = next((f"is {kind}" for kind, found in kinds.items() if found), None)
        if not isinstance(key, str):
            fault = "has no text as its key"
        if fault:
            raise Mistake(f"{path}: tensor {key!r:.80} {fault}; save plain tensors by their names.")


def is_torchscript(path):
    """Whether a file is a TorchScript program, which `read` would refuse."""
    if not Path(path).is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except Exception:  # zipfile raises several types; `read` says what is wrong
        return False


def _safetensors(path):
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}
    except MemoryError:
        raise
    except Exception as error:  # SafetensorError, or that of a number type that torch lacks
        raise _torn(path, error) from None


def _torch(path):
    import torch

    with open(path, "rb") as handle:
        head = handle.read(8)
    zipped = head.startswith(b"PK\x03\x04")
    if zipped and _claimed(path) > path.stat().st_size:
        raise _torn(path, "it claims more bytes than it holds")
    if not zipped and not head.startswith(b"\x80"):
        raise Mistake(
            f"{path} is no PyTorch file (it starts with {head!r}); download the weights themselves."
        )
    try:
        with torch.serialization.safe_globals(PLAIN):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        if zipped:
            _check_sums(path)
        return content
    except pickle.UnpicklingError as error:
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))
        if not names:
            raise _torn(path, error) from None
        raise Mistake(
            f"{path} asks for '{names[0]}', which is neither a tensor nor a plain container; it is "
            "not loaded, because that could run code: save only its tensors and import that file."
        ) from None
    except (MemoryError, OSError):
        raise  # such an error does not mean that the file is torn
    except Exception as error:
        raise _torn(path, error) from None


def _check_sums(path):
    """BadZipFile: a part of a zip file has another CRC than it says.

    torch does not look at them, and writes 0 where it was told to compute none."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.CRC:
                with archive.open(member) as part:
                    while part.read(2**20):
                        pass


def _claimed(path):
    """The bytes of all parts of a zip file, which torch never compresses."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(part.file_size for part in archive.infolist())
    except Exception as error:  # zipfile raises several types for a damaged directory
        raise _torn(path, error) from None


def _torn(path, error):
    lines = str(error).split("WeightsUnpickler error: ")[-1].strip().splitlines()
    reason = lines[0].rstrip(". ") if lines else type(error).__name__
    return Mistake(
        f"{path} cannot be read ({reason}); it is torn or no file of weights, so download it again."
    )
