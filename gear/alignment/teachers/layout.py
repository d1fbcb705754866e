"""Key names in the public weight files of a teacher, and a strict reader.

A layout gives the file's keys for each key of the encoder. Several keys are one tensor, cut along
the first axis. All other keys of the file must be listed as unused. If the weights are one entry of
the file, only that entry is read; other entries belong to a training.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from gear.files.mistakes import Mistake
from gear.foreign import convert
from gear.foreign.convert import Taken


@dataclass(frozen=True)
class Layout:
    name: str  # source of such files
    sign: str  # a key of the file that the teacher's other layouts do not have
    names: Callable  # the encoder's key -> the file's keys
    unused: tuple[str, ...] = ()  # beginnings of keys that the teacher does not need
    prepare: Callable | None = None  # (tensors, shape) -> tensors, if names are not enough
    entry: str | None = None  # the file's entry that holds the weights; None: the whole file


def same(key):
    """The keys of a file that names its weights as the encoder does."""
    return (key,)


def prefixed(prefix):
    """A function key -> keys of a file that adds a prefix to the encoder's keys."""
    return lambda key: (prefix + key,)


def find(content, teacher, where):
    """The layout of a file's content. Mistake: no layout of the teacher fits."""
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


def _img_size(tensors, layout, teacher):
    """The public input size whose number of positions the file has, else the first."""
    positions = tensors.get(layout.names("pos_embed")[0], torch.empty(0))
    fits = [s for s in teacher.SIZES if (s // teacher.PATCH) ** 2 in positions.shape]
    return (fits or teacher.SIZES)[0]


def read(content, teacher, shape, where):
    """(layout, shape with img_size, {encoder's key: float32 tensor}) of a file's content.

    shape: arguments of `teacher.build` without img_size. Mistake: a key is missing or surplus, or
    a tensor has another shape or is not finite."""
    if isinstance(content, dict) and not any(x.sign in content for x in teacher.LAYOUTS):
        content = convert.unprefixed(content)
    layout = find(content, teacher, where)
    tensors = _encoder_tensors(content, layout, shape, where)
    shape = {"img_size": _img_size(tensors, layout, teacher), **shape}
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in teacher.build(**shape).state_dict().items()}
    mapping = {key: layout.names(key) for key in shapes}
    taken = Taken("teacher", layout.name, tensors, ("teacher",))
    convert.check(taken, mapping, shapes, where)
    return layout, shape, convert.to_ours(taken, mapping, where)
