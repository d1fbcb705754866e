"""The check of a file of config/ against its model, with one sentence for each error.

    python -m gear.study.schema KIND

prints the JSON schema of a kind of file, for editors.
"""

import functools
import importlib
import json
import re
import sys
from typing import Annotated, Literal, Union

import pydantic
from pydantic import Field

from gear.files.mistakes import Mistake, did_you_mean
from gear.files.values import SAID
from gear.study.models.base import PATTERNS, text
from gear.study.models.shown import Claims, Tables
from gear.study.models.study import Device, Runs, Study
from gear.study.specs import figures

BOUNDS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "below {lt}",
    "finite_number": "finite",
}
TYPES = {
    "int_type": SAID[int],
    "int_from_float": SAID[int],
    "float_type": SAID[float],
    "bool_type": SAID[bool],
    "string_type": "text; put it in quotes",
    "list_type": "a list",
    "dict_type": "a mapping, as in {key: value}",
    "model_type": "a mapping, as in {key: value}",
    "model_attributes_type": "a mapping, as in {key: value}",
}
LENGTHS = {"too_short": "must have at least {min_length}", "too_long": "may have {max_length}"}


def _figure():
    """The type of any figure: a union of the Entry of each kind's module."""
    kinds = []
    for kind in figures.KINDS:
        entry = importlib.import_module(f"{figures.__name__}.{kind}").Entry
        kinds.append(pydantic.create_model(kind, __base__=entry, kind=(Literal[kind], ...)))
    return Annotated[Union[tuple(kinds)], Field(discriminator="kind")]  # noqa: UP007


KINDS = {
    "studies": Study,
    "runs": Runs,
    "tables": Tables,
    "figures": dict[text("name of a table or figure"), _figure()],
    "claims": Claims,
    "devices": dict[str, Device],
}


@functools.cache
def _adapter(kind):
    return pydantic.TypeAdapter(KINDS[kind])


def check(kind, data, where):
    """Mistake unless `data`, the content of the file `where`, fits the model of its kind."""
    try:
        _adapter(kind).validate_python(data)
    except pydantic.ValidationError as caught:
        error = caught.errors(include_url=False)[0]
        raise Mistake(f"{where}{_sentence(error, data)}") from None


def _keys(location, data):
    """The keys and positions of the file in the location of an error.

    pydantic's location also has the kind of a union's member, and [key] where a key is wrong."""
    keys, node = [], data
    for part in location:
        inside = isinstance(node, dict) and part in node
        if inside or (isinstance(node, list) and isinstance(part, int)):
            keys.append(str(part) if str(part).isprintable() else repr(part))
            node = node[part]
    return keys


def _sentence(error, data):
    """The sentence after the file's name: the place, what is wrong, and what would be right."""
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    keys = _keys(error["loc"], data)
    if error["loc"][-1:] == ("[key]",):
        keys = keys[:-1]
    place = ".".join(keys)
    if kind in ("missing", "union_tag_not_found"):
        key = context["discriminator"].strip("'") if context else error["loc"][-1]
        return f"{_after(place)}: '{key}' is missing; add it."
    if kind == "value_error":
        return f"{_after(place)}: {context['error']}"
    if kind in ("literal_error", "union_tag_invalid"):
        return _unknown(place, value, context)
    if kind == "string_pattern_mismatch":
        name, cure = next((k, v[1]) for k, v in PATTERNS.items() if v[0] == context["pattern"])
        article = "the" if name.startswith("name") else "a"
        return f"{_after(place)}: {value!r} cannot be {article} {name}; {cure}."
    place = f": {place or 'the file'}"
    if kind in LENGTHS:
        return f"{place} {LENGTHS[kind].format(**context)} entries and has {len(value)}."
    right = TYPES.get(kind) or BOUNDS[kind].format(**context)
    names = {dict: "a mapping", list: "a list"}
    return f"{place} is {names.get(type(value)) or repr(value)}; it must be {right}."


def _after(place):
    return f", {place}" if place else ""


def _unknown(place, value, context):
    """The sentence for a value that is not one of the allowed names."""
    known = context.get("expected", "")
    if "discriminator" in context:  # the key whose value chooses the member of a union
        key = context["discriminator"].strip("'")
        place, value, known = f"{place}.{key}", context["tag"], context["expected_tags"]
    cure = did_you_mean(value, re.findall(r"'([^']+)'", known))
    return f": {place} cannot be {value!r}. {cure}"


def main():
    kinds = sys.argv[1:]
    if len(kinds) != 1 or kinds[0] not in KINDS:
        sys.exit(f"usage: python -m gear.study.schema {{{','.join(KINDS)}}}")
    print(json.dumps(_adapter(kinds[0]).json_schema(), indent=1))


if __name__ == "__main__":
    main()
