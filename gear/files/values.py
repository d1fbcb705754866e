"""Values of settings, as a file of the study has them, in the types of the settings."""

import types
import typing

from gear.files.mistakes import Mistake, did_you_mean

SAID = {  # the example has a dot, because YAML reads 1e-4 as text
    int: "a whole number",
    float: "a number, such as 1.0e-4",
    bool: "true or false",
    str: "text",
}


def _in_range(name, value, interval):
    """The number itself. Mistake: not finite, or outside the interval."""
    interval = interval or "(-inf, inf)"
    low, high = interval[1:-1].split(", ")
    from_low = float(low) <= value if interval[0] == "[" else float(low) < value
    to_high = value <= float(high) if interval[-1] == "]" else value < float(high)
    if not (from_low and to_high):  # NaN also ends here
        ends = [f"{'at least' if interval[0] == '[' else 'above'} {low}"]
        ends += [f"{'at most' if interval[-1] == ']' else 'below'} {high}"]
        text = " and ".join(end for end in ends if not end.endswith("inf")) or "finite"
        raise Mistake(f"setting '{name}' is {value!r}; it must be {text}.")
    return value


def _list(name, values, items, choices, interval):
    """The values as a tuple. Mistake: wrong length, or a name occurs twice."""
    if not isinstance(values, list | tuple):
        raise Mistake(f"setting '{name}' is {values!r}; it must be a list.")
    if items[1] is not ... and len(values) != len(items):
        raise Mistake(f"setting '{name}' is {values!r}; it must be a list of {len(items)} values.")
    if not values and interval:
        raise Mistake(f"setting '{name}' is {values!r}; it must have a value.")
    converted = tuple(convert(name, value, items[0], choices, interval) for value in values)
    if choices and len(set(converted)) < len(converted):
        raise Mistake(f"setting '{name}' is {values!r}; it must name each once.")
    return converted


def convert(name, value, kind, choices=None, interval=None):
    """The value of a setting in its type `kind`, such as `tuple[int, ...]` or `float | None`.

    choices: the texts that it can be; interval: of numbers, such as "[0, inf)". Both are of the
    items of a list. Mistake: it has another type, or is none of these."""
    origin = typing.get_origin(kind)
    if origin is types.UnionType:
        if value is None:
            return None
        kind = next(t for t in typing.get_args(kind) if t is not type(None))
    if origin is tuple:
        return _list(name, value, typing.get_args(kind), choices, interval)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _in_range(name, float(value), interval)
    if type(value) is kind:
        if choices and value not in choices:
            raise Mistake(f"setting '{name}' cannot be {value!r}. {did_you_mean(value, choices)}")
        return _in_range(name, value, interval) if kind is int else value
    raise Mistake(f"setting '{name}' is {value!r}; it must be {SAID[kind]}.")
