"""Checks of what users ask of a model. A parameter's name in backquotes becomes its option where a
command is used. Every fault is a Mistake of one sentence."""

import math
import operator

import numpy as np
import torch

from gear.files.mistakes import Mistake
from gear.files.reading import named
from gear.t2i import prompts

PER_CLASS = 1_000_000  # seeds set aside for each class, of the 10^9 of each `seed`
SEEDS = 9_000_000_000  # so that a seed fits 64 bits


def at(where):
    return f"{where}: " if where else ""


def array(values, what, where=None):
    """An array in C order that a tensor may share, of a tensor or of whatever numpy takes."""
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu().numpy()
        return np.require(values, requirements="CW")
    except (TypeError, ValueError) as error:
        raise Mistake(f"{at(where)}{what} are no array of numbers ({error}); give one.") from None


def numbers(values, below, what, where=None):
    """int64 tensor of whole numbers in 0..below-1."""
    if values.dtype.kind not in "iu":
        raise Mistake(f"{at(where)}{what} are {values.dtype}; they must be whole numbers.")
    if values.size and not 0 <= values.min() <= values.max() < below:
        wrong = values.min() if values.min() < 0 else values.max()
        raise Mistake(
            f"{at(where)}{what} hold {wrong}, but the checkpoint knows 0 to {below - 1}; they "
            "were made for another checkpoint."
        )
    return torch.from_numpy(values.astype(np.int64))


def classes(wanted, known):
    """A list of class numbers, each once, of a list or of one number."""
    found = array(wanted, "classes").reshape(-1)
    if found.dtype.kind not in "iu" or not found.size:
        raise Mistake(f"`classes` is {wanted!r}; write class numbers, such as [3, 207].")
    listed = found.tolist()
    for number in listed:
        if not 0 <= number < known:
            raise Mistake(f"class {number} is unknown; the checkpoint has 0 to {known - 1}.")
        if listed.count(number) > 1:
            raise Mistake(f"`classes` has {number} twice; name each class once.")
    return listed


def whole(name, value, low, high):
    try:
        number = operator.index(value)
    except TypeError:
        raise Mistake(f"`{name}` is {value!r}; write a whole number.") from None
    if not low <= number <= high:
        raise Mistake(f"`{name}` is {number}; it must be {low} to {high}.")


def check_sampling(count, guidance, temperature, top_k, top_p, seed):
    """Mistake where an option cannot be."""
    whole("count", count, 1, PER_CLASS)
    whole("seed", seed, 0, SEEDS)
    given = {"guidance": guidance, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    for name, value in given.items():
        if not isinstance(value, int | float | np.number):
            raise Mistake(f"`{name}` is {value!r}; write a number.")
    if not 0 < temperature < math.inf or not 0 < top_p <= 1 or top_k < 0:
        raise Mistake("`temperature` must be above 0, `top_p` in (0, 1] and `top_k` at least 0.")
    whole("top_k", top_k, 0, 2**62)
    if not math.isfinite(guidance):
        raise Mistake(f"`guidance` is {guidance}; write a number, such as 1.5.")


def _listed(wanted, name):
    """A list, of one or of one text."""
    if isinstance(wanted, str):
        return [wanted]
    if not isinstance(wanted, list | tuple):
        raise Mistake(f"`{name}` is {named(wanted)}; write a list of texts.")
    return list(wanted)


def negative(wanted, guidance):
    """The text of images without their caption; "" as in training."""
    if wanted != "":
        prompts.check(wanted, "`negative`")
        if guidance == 1:
            raise Mistake("`negative` acts by guidance alone; set `guidance` above 1.")
    return wanted


def texts(wanted, name="prompts"):
    """A list of texts, of a list or of one text."""
    found = _listed(wanted, name)
    if not found:
        raise Mistake(f"`{name}` is empty; write what the pictures show.")
    return [prompts.check(text, f"prompt {number}") for number, text in enumerate(found, 1)]


def captions(wanted, count, where=None):
    """A list of `count` texts, of so many or of one for all. A caption may be empty."""
    found = _listed(wanted, "captions")
    found = found * count if len(found) == 1 else found
    if len(found) != count:
        raise Mistake(
            f"{at(where)}there are {len(found)} captions for {count} images; give one for each "
            "image with `captions`, or one for all."
        )
    return [text if text == "" else prompts.check(text, "a caption") for text in found]
