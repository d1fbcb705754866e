"""A mapping with known keys, and the types that several files of config/ have in common."""

from typing import Annotated

import pydantic
from pydantic import AfterValidator, Discriminator, Field, Tag

from gear.files.mistakes import Mistake, did_you_mean

PATTERNS = {  # kind of text: its pattern, and how to write it
    "checkpoint": (r"^[A-Za-z0-9._-]+@[0-9]+k$", "write run@step, such as gear-l@400k"),
    "tokenizer": (
        r"^([A-Za-z0-9._-]+@[0-9]+k|none)$",
        "write run@step, such as vq@400k, or none",
    ),
    "milestone": (r"^[0-9]+k$", "write thousands of steps, such as 400k"),
    "name of a run": (
        r"^[a-z0-9][a-z0-9.-]*$",
        "take letters from a to z, digits, '.' and '-', with a letter or a digit in front",
    ),
    "name of a table or figure": (
        r"^[a-z][a-z0-9_]*$",
        "take letters from a to z, digits and '_', with a letter in front",
    ),
    "sha256": (r"^[0-9a-f]{64}$", "write its 64 hexadecimal digits"),
    "commit": (r"^[0-9a-f]{40}$", "write its 40 hexadecimal digits"),
}


class Entry(pydantic.BaseModel):
    """A mapping with known keys. Types are strict: true is no number, 8.0 is no whole number."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def keys(cls):
        """The keys that the mapping may have."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @pydantic.model_validator(mode="before")
    @classmethod
    def _known(cls, data):
        if isinstance(data, dict) and cls.model_config["extra"] == "forbid":
            for key in data:
                if key not in cls.keys():
                    raise Mistake(f"unknown key {key!r}. {did_you_mean(key, cls.keys())}")
        return data


def text(pattern):
    """The type of a text that matches one of the PATTERNS."""
    return Annotated[str, Field(pattern=PATTERNS[pattern][0])]


def once(names):
    """The names unchanged. Mistake: a name occurs twice."""
    for name in names:
        if names.count(name) > 1:
            raise Mistake(f"{name!r} is there twice; remove one.")
    return names


def list_or_text(listed, other):
    """The type of a list that may be replaced by a text."""
    kinds = Annotated[listed, Tag("list")] | Annotated[other, Tag("text")]
    return Annotated[kinds, Discriminator(lambda v: "text" if isinstance(v, str) else "list")]


Whole = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Above0 = Annotated[float, Field(gt=0)]
Names = Annotated[list[str], AfterValidator(once)]
Some = Annotated[list[str], Field(min_length=1), AfterValidator(once)]
Pair = Annotated[list[str], Field(min_length=2, max_length=2), AfterValidator(once)]
Sha256 = text("sha256")
Checkpoint = text("checkpoint")
