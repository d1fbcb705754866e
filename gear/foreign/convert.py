"""One state of a foreign file, and its way from the file's names and shapes to ours and back."""

from dataclasses import dataclass

import torch

from gear.files.mistakes import Mistake


@dataclass(frozen=True)
class Taken:
    """One state of the file and the prefixes under which ours holds it; () is checked and left."""

    kind: str  # tokenizer | discriminator | ar | projector
    name: str  # the file's entry
    tensors: dict
    prefixes: tuple[str, ...]
    dotless: bool = False  # the keys have lost their dots

    def spell(self, key):
        """A key of the network as this state has it."""
        return key.replace(".", "") if self.dotless else key


def unwrapped(content):
    """(entry name, state, other entries) of a file with one state."""
    for name in ("model", "state_dict"):
        if isinstance(content.get(name), dict):
            return name, content[name], {k: v for k, v in content.items() if k != name}
    return "the file", content, {}


def _wanted(taken, mapping, shapes):
    """{key in the file: shape} of a mapping; shapes: {our key: shape}."""
    wanted = {}
    for ours, theirs in mapping.items():
        shape = tuple(shapes[ours])
        if len(theirs) > 1:
            shape = (shape[0] // len(theirs), *shape[1:])
        wanted |= {taken.spell(key): shape for key in theirs}
    assert len(wanted) == sum(map(len, mapping.values())), "two keys of the network are one"
    return wanted


def check(taken, mapping, shapes, where):
    """Mistake that names what is missing, surplus or of another shape, if anything is."""
    wanted = _wanted(taken, mapping, shapes)
    missing = [k for k in wanted if k not in taken.tensors]
    surplus = [str(k) for k in taken.tensors if k not in wanted]
    wrong = [k for k in wanted if k not in missing and taken.tensors[k].shape != wanted[k]]
    said = []
    if missing:
        said.append(f"'{missing[0]}' is missing (wanted: {_shape(wanted[missing[0]])})")
    if surplus:
        said.append(f"{', '.join(repr(k) for k in surplus[:3])} should not be there")
    if wrong:
        found = _shape(taken.tensors[wrong[0]].shape)
        said.append(f"'{wrong[0]}' has shape {found} (wanted: {_shape(wanted[wrong[0]])})")
    if said:
        raise Mistake(
            f"{where}, {taken.name}: {'; '.join(said)}; the file is damaged or of another network."
        )


def _shape(shape):
    return "x".join(map(str, shape)) or "a single number"


def to_ours(taken, mapping):
    """{our key: tensor}; floating-point numbers of any kind become float32."""
    ours = {}
    for key, theirs in mapping.items():
        parts = [taken.tensors[taken.spell(t)] for t in theirs]
        tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
        ours[key] = tensor.float() if tensor.is_floating_point() else tensor
    return ours


def to_theirs(state, mapping):
    """{key in a public file: tensor}, the inverse."""
    found = {}
    for key, theirs in mapping.items():
        for name, part in zip(theirs, state[key].chunk(len(theirs)), strict=True):
            found[name] = part.clone()  # no tensor of the file is a view of another
    return found
