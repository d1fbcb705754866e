"""Files of weights and training states, and the lock of a run's folder.

A milestone's outputs (weights.safetensors, run.json, curves.csv) are declared to Snakemake and
written at the end. The training state is not declared, because Snakemake deletes the declared
outputs of a failed job. The state is in `<run>/state/<step>.pt` and `<run>/latest.pt`.
"""

import errno
import fcntl
import math
import os
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gear.files.aside import aside, room_for, write_json
from gear.files.hashes import sha256_once
from gear.files.mistakes import Mistake
from gear.files.reading import MISSING, read_record, reason_of, require_file
from gear.runtime.progress import say

SMALL = 2**20  # numbers of a network that is built whatever its file holds


def save_weights(path, modules):
    """Write {'ar': module or state dict} as one safetensors file with keys `ar.<key>`."""
    tensors = {}
    for prefix, module in modules.items():
        for key, value in _state(module).items():
            tensors[f"{prefix}.{key}"] = value.detach().cpu().contiguous().clone()
    with aside(path) as part:
        save_file(tensors, part)


def _state(module):
    return module.state_dict() if isinstance(module, torch.nn.Module) else module


def save_folder(folder, modules, record):
    """Write weights.safetensors and run.json, which states the sha256 of the weights.

    modules: see `save_weights`; record: the other content of run.json. Mistake: weights are not
    finite, and the record does not say that the run diverged."""
    path = Path(folder) / "weights.safetensors"
    if record.get("status") != "diverged":
        for prefix, module in modules.items():
            require_finite(_state(module), f"{path}, {prefix}")
    save_weights(path, modules)
    write_json(Path(folder) / "run.json", record | {"weights_sha256": sha256_once(path)})


@contextmanager
def _opened(path):
    """Yields an open safetensors file. Mistake: the file is missing or damaged."""
    require_file(path, _where_else(path))
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (Mistake, MemoryError):
        raise
    except OSError:
        raise  # such an error does not mean that the file is damaged
    except Exception as error:  # safetensors raises several types for a damaged file
        raise Mistake(
            f"{path} is no complete safetensors file ({reason_of(error)}); remove its folder and "
            "run again."
        ) from None


def _where_else(path):
    """The cure for a missing file of a checkpoint: the steps that its run has."""
    folder = Path(path).parent
    for run in (folder, folder.parent):
        steps = (step.parent for step in run.glob("*k/run.json") if step.parent != folder)
        found = ", ".join(map(str, sorted(steps, key=_by_length)))
        if found:
            return f"name one of the run's steps: {found}"
    return MISSING


def _by_length(step):
    return len(str(step)), step


def require_step(folder):
    """Mistake where the folder of a run is named instead of one of its steps, or a wrong step."""
    path = Path(folder) / "run.json"
    if not path.exists() and _where_else(path) != MISSING:
        raise Mistake(f"{folder} is no checkpoint; {_where_else(path)}.")


def holds(path, prefix):
    """Whether a safetensors file has weights `prefix.*`. Mistake: missing or damaged file."""
    with _opened(path) as file:
        return any(k.startswith(prefix + ".") for k in file.keys())


def load_weights(path, prefix, module):
    """The module with the weights `prefix.*` of a safetensors file, loaded strictly.

    run.json beside the file may state its sha256; older ones do not. Weights that are not finite
    are only taken if run.json says that the run diverged.
    Mistake: missing, damaged or other file, not finite, or a key or shape that does not fit."""
    with _opened(path) as file:
        keys = [k for k in file.keys() if k.startswith(prefix + ".")]
        state = {k[len(prefix) + 1 :]: file.get_tensor(k) for k in keys}
    record = _record(path)
    expected = module.state_dict()
    wrong = sorted(set(state) ^ set(expected))
    wrong += [k for k in state if k in expected and state[k].shape != expected[k].shape]
    if wrong:
        raise Mistake(
            f"{path}: the weights of '{prefix}' do not fit these settings (first: '{wrong[0]}'); "
            "the file is of another run."
        )
    if record.get("status") != "diverged":
        require_finite(state, path)
    module.load_state_dict(state)
    return module


def _record(path):
    """run.json beside a file of weights, or {}. Mistake: the file has another sha256 than it says.

    A folder that is not complete yet has no run.json."""
    file = Path(path).with_name("run.json")
    record = read_record(file) if file.exists() and Path(path).exists() else {}
    stated = record.get("weights_sha256")
    if stated and sha256_once(path) != stated:
        raise Mistake(
            f"{path} has sha256 {sha256_once(path)[:8]}..., but {file.name} beside it says "
            f"{stated[:8]}...: the weights were changed or are of another run; pull the folder "
            "again, or make it again."
        )
    return record


def not_finite(state):
    """The first key of a state dict whose tensor is not finite, or None.

    Numbers so large that their squares overflow count as well: a network has none."""
    floats = ((key, value) for key, value in state.items() if value.is_floating_point())
    return next((k for k, v in floats if not v.float().square().sum().isfinite()), None)


def require_finite(state, where):
    """Mistake: a tensor of a state dict is not finite. where: its file."""
    key = not_finite(state)
    if key is not None:
        raise Mistake(
            f"{where}: '{key}' has numbers that are not finite, so nothing that it computes means "
            "anything; take another checkpoint, or make this one again."
        )


def load_network(path, prefix, make, least):
    """The module make() with the weights `prefix.*` of a safetensors file, loaded strictly.

    least: how many numbers these weights have by their settings, at least. It is compared with the
    file before make() is called, because damaged settings may ask for more than memory holds.
    Mistake: as of load_weights, or the file has far fewer."""
    with _opened(path) as file:
        keys = [k for k in file.keys() if k.startswith(prefix + ".")]
        held = sum(math.prod(file.get_slice(k).get_shape()) for k in keys)
    if least > SMALL + 2 * held:
        raise Mistake(
            f"{path}: the weights of '{prefix}' are far fewer than its run.json asks for; one of "
            "the two files is damaged or of another run."
        )
    return load_weights(path, prefix, make())


def save_state(path, state):
    """Write a training state through a temporary file.

    torch writes a zip file, which has a checksum for each part."""
    with aside(path) as part:
        write_state(part, state)


def write_state(path, state):
    """Write a training state to a temporary path.

    The bytes are on the disk before this returns, so the caller may rename the file."""
    with open(path, "wb") as handle:
        torch.save(state, handle)
        handle.flush()
        os.fsync(handle.fileno())


def load_state(path):
    """A training state. Mistake: the file is missing, damaged or of another kind."""
    if not Path(path).exists():
        raise Mistake(
            f"the training state {path} is missing, so the run cannot go on from there; pull it, "
            f"or delete the step folders of {Path(path).parent.parent} to train it from the start."
        )
    require_file(path, "delete it and run again")
    try:
        with ZipFile(path) as file:
            if sum(part.file_size for part in file.infolist()) > Path(path).stat().st_size:
                raise BadZipFile("it claims more than it holds")
            damaged = file.testzip()
        if damaged:
            raise BadZipFile(f"wrong checksum of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise  # such an error does not mean that the file is damaged
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # nor does one of the disk; EINVAL: a damaged zip names a place before its start
        raise Mistake(
            f"{path} cannot be read ({reason_of(error)}); delete it and run again."
        ) from None


@contextmanager
def run_lock(folder, until=0.0):
    """Hold the lock of a run's folder: one trainer writes it at a time.

    The operating system frees the lock when its process ends. until: wait for the lock until this
    time, in seconds since 1970. A job on a cluster waits, because the holder may be an earlier copy
    of the same job, whose Snakemake was killed. Mistake: another trainer still has the lock."""
    folder = Path(folder)
    for file in (folder / "lock", folder / "metrics.jsonl"):
        if file.is_dir():
            raise Mistake(f"{file} is a folder, where the training writes a file; move it away.")
    with room_for(folder / "lock"):
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / "lock", "a+", encoding="utf-8")
    with handle:
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
        with room_for(folder / "lock"):  # without a buffer, which closing would try to write again
            os.write(handle.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield


def _locked(handle):
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
