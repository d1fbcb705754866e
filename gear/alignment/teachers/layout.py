"""How the public files of a teacher name its weights, and their strict reading.

A layout gives the file's keys for each of the encoder's; several are one tensor, cut along the
first axis. What a file has beyond them must be of what the layout calls unused. Where the weights
are one entry of the file, that entry is read and the others, a training's, are left.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from gear.files.mistakes import Mistake
from gear.foreign import convert
from gear.foreign.convert import Taken


@dataclass(frozen=True)
class Layout:
    name: str  # where such files come from
    sign: str  # a key of the file that the teacher's other layouts do not have
    names: Callable  # the encoder's key -> the file's keys
    unused: tuple[str, ...] = ()  # beginnings of keys that a teacher does without
    prepare: Callable | None = None  # (tensors, shape) -> tensors, where names are not all
    entry: str | None = None  # of the file, which holds the weights; None: they are the file


def same(key):
    """The file has the encoder's own keys."""
    return (key,)


def prefixed(prefix):
    """The file has the encoder's own keys under a prefix."""
    return lambda key: (prefix + key,)


def find(content, teacher, where):
    """The layout of a file's content. Mistake says what the file looks like."""
    known = " or ".join(layout.name for layout in teacher.LAYOUTS)
    if not isinstance(content, dict) or not content:
        raise Mistake(
            f"{where} holds no named tensors ({type(content).__name__}); wanted for "
            f"{teacher.SAYS}: {known}."
        )
    for layout in teacher.LAYOUTS:
        if layout.sign in content:
            return layout
    raise Mistake(
        f"{where} has {len(content)} entries, the first '{next(iter(content))}', and none named "
        f"{' or '.join(repr(layout.sign) for layout in teacher.LAYOUTS)}: it is no file of "
        f"{teacher.SAYS}; wanted: {known}."
    )


def _encoder_tensors(content, layout, shape, where):
    if layout.entry:
        content = content[layout.entry]
        if not isinstance(content, dict):
            raise Mistake(
                f"{where}: '{layout.entry}' is no dictionary of tensors but a "
                f"{type(content).__name__}; wanted: {layout.name}."
            )
    tensors = {}
    for key, value in content.items():
        if str(key).startswith(layout.unused):
            continue
        if not isinstance(value, torch.Tensor):
            raise Mistake(
                f"{where}: '{key}' is no tensor but a {type(value).__name__}; wanted: the weights "
                f"alone, as in {layout.name}."
            )
        tensors[key] = value
    return layout.prepare(tensors, shape) if layout.prepare else tensors


def _check_finite(tensors, where):
    """Mistake names the first tensor with a number that is not finite."""
    for key, value in tensors.items():
        if not value.isfinite().all():
            raise Mistake(
                f"{where}: '{key}' has numbers that are not finite; the file is damaged, so "
                "download it again."
            )


def _img_size(tensors, layout, teacher):
    """Of several public input sizes the one whose positions the file has, else the first."""
    positions = tensors.get(layout.names("pos_embed")[0], torch.empty(0))
    fits = [s for s in teacher.SIZES if (s // teacher.PATCH) ** 2 in positions.shape]
    return (fits or teacher.SIZES)[0]


def read(content, teacher, shape, where):
    """(layout, shape with its img_size, {the encoder's key: float32 tensor}) of a file's content.

    shape: what `teacher.build` needs besides img_size. Mistake names the first key that is
    missing, surplus, of another shape or not finite."""
    layout = find(content, teacher, where)
    tensors = _encoder_tensors(content, layout, shape, where)
    shape = {"img_size": _img_size(tensors, layout, teacher), **shape}
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in teacher.build(**shape).state_dict().items()}
    mapping = {key: layout.names(key) for key in shapes}
    taken = Taken("teacher", layout.name, tensors, ("teacher",))
    convert.check(taken, mapping, shapes, where)
    _check_finite(tensors, where)
    return layout, shape, convert.to_ours(taken, mapping)
