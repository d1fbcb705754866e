"""Local files of public weights for metrics: checked, and never downloaded."""

import sys
from pathlib import Path

import torch

from gear.files import hashes
from gear.files.mistakes import Mistake
from gear.foreign import convert, source
from gear.foreign.convert import COUNTER, Taken, unprefixed, unwrapped


def verified(path, what, sha256=None, published=None, unknown=None):
    """The sha256 of a file. Mistake: the file is missing, or has another sha256.

    what: description of the file in messages; sha256: the expected value; published: the beginning
    of the publisher's value, which is checked if the user gives no sha256; unknown: what may differ
    in other files of the same shapes, for a warning where neither value is known."""
    path = Path(path)
    if not path.is_file():
        raise Mistake(f"{path} is missing; put {what} there, or name another file.")
    digest = hashes.sha256(path)
    if sha256 and digest != sha256:
        raise Mistake(
            f"{path} has sha256 {digest}, but {sha256} is asked for; download it again, or correct "
            "the sha256."
        )
    if published and not sha256 and not digest.startswith(published):
        raise Mistake(
            f"{path} has sha256 {digest[:8]}..., that of {what} begins with {published}; download "
            "it again, or name the file's own sha256 in the study or with --sha256."
        )
    if unknown and not sha256 and not published:
        print(
            f"gear: warning: {path} has sha256 {digest}, and no publisher's value is known to "
            f"compare it with; {unknown}, so check it and give it with --sha256.",
            file=sys.stderr,
        )
    return digest


def load_strictly(path, network, what, unused=()):
    """The network with the weights of a file, loaded strictly.

    unused: beginnings of keys that the network does not need. BatchNorm's counters of batches may
    be missing, because old files have none and no code here reads them.
    Mistake: a key is missing or surplus, or a tensor has another shape."""
    content = unprefixed(source.read(path))
    name, state, _ = unwrapped(content) if isinstance(content, dict) else ("", None, {})
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise Mistake(f"{path} holds no named tensors alone; wanted: {what}.")
    state = {k: v for k, v in state.items() if not k.startswith(tuple(unused))}
    expected = network.state_dict()
    counters = {k: v for k, v in expected.items() if k.endswith(COUNTER)}
    shapes = {k: v.shape for k, v in expected.items() if k not in counters}
    taken = Taken("features", name, {k: v for k, v in state.items() if k not in counters}, ())
    mapping = {key: (key,) for key in shapes}
    convert.check(taken, mapping, shapes, path)
    network.load_state_dict(convert.to_ours(taken, mapping, path) | counters)
    return network
