"""Conversion of a state dict between a foreign file's names and shapes and ours.

A mapping is {our key: keys in the file}. Several keys in the file are one tensor of ours, cut along
the first axis.
"""

import sys
from dataclasses import dataclass

import torch

from gear.files.mistakes import Mistake

COUNTER = "num_batches_tracked"  # of BatchNorm: the only whole numbers among weights
WRAPPERS = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put on keys


@dataclass(frozen=True)
class Taken:
    """One state dict of the file, and the prefixes of its keys in our checkpoint.

    An empty tuple of prefixes: the state dict is checked, but not imported."""

    kind: str  # tokenizer | discriminator | ar | projector
    name: str  # name of the entry in the file
    tensors: dict
    prefixes: tuple[str, ...]
    dotless: bool = False  # the keys have lost their dots

    def spell(self, key):
        """The key in this state dict of a key of the network."""
        return key.replace(".", "") if self.dotless else key


def unprefixed(content):
    """The content of a file without the prefixes of WRAPPERS, where all keys of a dict have one.

    content: a state dict, or {name: state dict}. Each prefix that is taken off is printed."""
    if not isinstance(content, dict):
        return content
    entries = {name: _bare(value, f"'{name}'") for name, value in content.items()}
    return _bare(entries, "the file")


def _bare(state, name):
    if not isinstance(state, dict) or not state:
        return state
    for prefix in WRAPPERS:
        if all(isinstance(key, str) and key.startswith(prefix) for key in state):
            print(f"took '{prefix}' off all keys of {name}", file=sys.stderr, flush=True)
            return _bare({key[len(prefix) :]: v for key, v in state.items()}, name)
    return state


def unwrapped(content):
    """(entry name, state dict, other entries) of a file with one state dict."""
    for name in ("model", "state_dict"):
        if isinstance(content.get(name), dict):
            return name, content[name], {k: v for k, v in content.items() if k != name}
    return "the file", content, {}


def _expected_shapes(taken, mapping, shapes):
    """{key in the file: shape} of a mapping; shapes: {our key: shape}."""
    expected = {}
    for key, file_keys in mapping.items():
        shape = tuple(shapes[key])
        if len(file_keys) > 1:
            shape = (shape[0] // len(file_keys), *shape[1:])
        expected |= {taken.spell(file_key): shape for file_key in file_keys}
    assert len(expected) == sum(map(len, mapping.values())), "two keys of the network are one"
    return expected


def check(taken, mapping, shapes, where):
    """Mistake: a key is missing or surplus, or a tensor has another shape or no float numbers.

    taken: Taken; shapes: {our key: shape}; where: the file, for the message."""
    expected = _expected_shapes(taken, mapping, shapes)
    missing = [k for k in expected if k not in taken.tensors]
    surplus = [str(k) for k in taken.tensors if k not in expected]
    wrong = [k for k in expected if k not in missing and taken.tensors[k].shape != expected[k]]
    reasons = []
    if missing:
        reasons.append(f"'{missing[0]}' is missing (wanted: {_shape(expected[missing[0]])})")
    if surplus:
        reasons.append(f"{', '.join(repr(k) for k in surplus[:3])} should not be there")
    if wrong:
        shape, right = _shape(taken.tensors[wrong[0]].shape), _shape(expected[wrong[0]])
        reasons.append(f"'{wrong[0]}' has shape {shape} (wanted: {right})")
    if reasons:
        raise Mistake(
            f"{where}, {taken.name}: {'; '.join(reasons)}; the file is of another network than the "
            "one that is wanted."
        )
    for key in expected:
        dtype = taken.tensors[key].dtype
        if not dtype.is_floating_point and not key.endswith(COUNTER):
            raise Mistake(
                f"{where}, {taken.name}: '{key}' holds {str(dtype).removeprefix('torch.')} and not "
                "floating-point numbers, so it holds no weights; save the weights as float32."
            )


def _shape(shape):
    return "x".join(map(str, shape)) or "a single number"


def to_ours(taken, mapping, where):
    """{our key: tensor}. All floating-point types become float32. Mistake: not finite numbers."""
    state = {}
    for key, file_keys in mapping.items():
        parts = [taken.tensors[taken.spell(file_key)] for file_key in file_keys]
        tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
        state[key] = tensor.float() if tensor.is_floating_point() else tensor
        if not state[key].isfinite().all():
            raise Mistake(
                f"{where}, {taken.name}: '{taken.spell(file_keys[0])}' has numbers that are not "
                "finite; take the weights of an earlier checkpoint, or download the file again."
            )
    return state


def to_theirs(state, mapping):
    """{key in the file: tensor} of our state dict, the inverse of `to_ours`."""
    tensors = {}
    for key, file_keys in mapping.items():
        parts = state[key].chunk(len(file_keys))
        for file_key, part in zip(file_keys, parts, strict=True):
            tensors[file_key] = part.clone()  # no tensor of the file is a view of another
    return tensors
