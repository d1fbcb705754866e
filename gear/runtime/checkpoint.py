"""Files that are never half-written, and the lock that keeps a second trainer out.

A milestone's outputs (weights.safetensors, run.json, curves.csv) are declared to Snakemake and
written at the end. The training state is not: it lies beside the step folders, as
`<run>/state/<step>.pt` and `<run>/latest.pt`, so that a failed job does not lose it.
"""

import fcntl
import os
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gear.files.aside import aside
from gear.files.mistakes import Mistake
from gear.runtime.progress import say


def save_weights(path, modules):
    """{'ar': module or state dict} -> one safetensors file with keys `ar.<key>`."""
    tensors = {}
    for prefix, module in modules.items():
        state = module.state_dict() if isinstance(module, torch.nn.Module) else module
        for key, value in state.items():
            tensors[f"{prefix}.{key}"] = value.detach().cpu().contiguous().clone()
    with aside(path) as part:
        save_file(tensors, part)


@contextmanager
def _opened(path):
    """A safetensors file. Mistake where it is missing or torn."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise Mistake(f"{path} is missing; make it with Snakemake or pull it.") from None
    except Exception as error:
        raise Mistake(
            f"{path} is no complete safetensors file ({error}); remove its folder and run again."
        ) from None


def holds(path, prefix):
    """Whether a safetensors file has weights `prefix`.*"""
    with _opened(path) as file:
        return any(k.startswith(prefix + ".") for k in file.keys())


def load_weights(path, prefix, module):
    """Load `prefix`.* of a safetensors file into `module`, strictly, or raise Mistake."""
    with _opened(path) as file:
        keys = [k for k in file.keys() if k.startswith(prefix + ".")]
        state = {k[len(prefix) + 1 :]: file.get_tensor(k) for k in keys}
    expected = module.state_dict()
    wrong = sorted(set(state) ^ set(expected))
    wrong += [k for k in state if k in expected and state[k].shape != expected[k].shape]
    if wrong:
        raise Mistake(
            f"{path}: the weights of '{prefix}' do not fit these settings (first: '{wrong[0]}'); "
            "the file is of another run."
        )
    module.load_state_dict(state)
    return module


def save_state(path, state):
    """A training state, written aside. The zip that torch writes has a checksum for each part."""
    with aside(path) as part:
        write_state(part, state)


def write_state(path, state):
    """To a path that is not the final one: the bytes are on the disk before it gets its name."""
    with open(path, "wb") as handle:
        torch.save(state, handle)
        handle.flush()
        os.fsync(handle.fileno())


def load_state(path):
    """A training state. Mistake where the file is missing, torn, damaged or not ours."""
    if not Path(path).exists():
        raise Mistake(
            f"the training state {path} is missing, so the run cannot go on from there; pull it, "
            f"or delete the step folders of {Path(path).parent.parent} to train it from the start."
        )
    try:
        with ZipFile(path) as file:
            damaged = file.testzip()
        if damaged:
            raise BadZipFile(f"wrong checksum of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, OSError):
        raise  # says nothing about the file
    except Exception as error:
        raise Mistake(f"{path} cannot be read ({error}); delete it and run again.") from None


@contextmanager
def run_lock(folder, until=0.0):
    """Only one trainer writes a run's folder. The lock dies with its holder.

    A job of a cluster waits for it, `until` so many seconds since 1970: the other one may be its
    own first copy, whose Snakemake was killed. Mistake: the other one is still at work."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", encoding="utf-8") as handle:
        waits = False
        while not _locked(handle):
            handle.seek(0)
            holder = handle.read().strip() or "another job"
            if time.time() >= until:
                raise Mistake(f"{folder} is being written by {holder}; wait for it or stop it.")
            if not waits:
                say(f"waits for {holder}, which is writing {folder}")
            waits = True
            time.sleep(1.0)
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}")
        handle.flush()
        yield


def _locked(handle):
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
