"""Models of config/tables.yaml, figures.yaml and claims.yaml."""

from typing import Annotated, Literal

import pydantic
from pydantic import AfterValidator, Field

from gear.files.mistakes import Mistake, did_you_mean
from gear.study.models.base import (
    Above0,
    Checkpoint,
    Count,
    Entry,
    Names,
    Pair,
    Some,
    list_or_text,
    once,
    text,
)
from gear.study.stages import STAGES
from gear.study.vocabulary import METRICS


def _metric(name):
    if name not in METRICS:
        raise Mistake(f"there is no metric {name!r}. {did_you_mean(name, METRICS)}")
    return name


Metric = Annotated[str, AfterValidator(_metric)]
Metrics = Annotated[list[Metric], Field(min_length=1), AfterValidator(once)]


class Row(Entry):
    row: str
    run: Checkpoint = ""
    paper: str = ""
    sampler: str = ""
    baseline: str = ""
    studies: Names = []
    aliased: bool = False

    @pydantic.model_validator(mode="after")
    def _another_is_the_baseline(self):
        if self.row == self.baseline:
            raise Mistake(f"the baseline of row '{self.row}' is the row itself; name another.")
        return self


class Table(Entry):
    title: str
    stage: Literal[*STAGES] = ""
    note: str = ""
    reading: str = ""
    paper: Count = 1
    samplers: Names
    metrics: list_or_text(Metrics, str)
    default: str = ""
    seeds: str = ""
    comparisons: list[Pair] = []
    rows: Annotated[list[Row], Field(min_length=1)]


class Tables(Entry, extra="allow"):
    __pydantic_extra__: dict[text("name of a table or figure"), Table]
    columns: dict[str, Metrics] = {}

    @pydantic.model_validator(mode="before")
    @classmethod
    def _only_columns_are_lists(cls, data):
        for key, entry in data.items() if isinstance(data, dict) else ():
            lists = isinstance(entry, dict) and all(isinstance(v, list) for v in entry.values())
            if lists and key != "columns":
                raise Mistake(f"unknown key {key!r}. {did_you_mean(key, ['columns'])}")
        return data


class Figure(Entry):
    """The keys that the entries of all kinds of figures share."""

    kind: str
    title: str
    stage: Literal[*STAGES] = ""
    reading: str = ""
    paper: str = ""


Labelled = Annotated[dict[str, Checkpoint], Field(min_length=1)]


class Rows(Figure):
    """A figure with a row for each checkpoint."""

    rows: Labelled


class Spread(Entry):
    table: str
    sds: Above0


Pairs = Annotated[list[Pair], Field(min_length=1)]
Limits = Annotated[dict[str, float], Field(min_length=1)]


class Criterion(Entry):
    metric: Metric
    sampler: str = ""
    lower: Pairs = []
    higher: Pairs = []
    not_higher: Pairs = []
    not_lower: Pairs = []
    below: Limits = {}
    above: Limits = {}
    sooner: Some = []

    @pydantic.model_validator(mode="after")
    def _asks(self):
        kinds = [name for name in type(self).model_fields if name not in ("metric", "sampler")]
        if not self.model_fields_set & set(kinds):
            raise Mistake(f"a test asks {', '.join(kinds[:-1])} or {kinds[-1]}; add one.")
        return self


class Claim(Entry):
    claim: str
    source: str
    ours: bool = False
    table: str = ""
    figure: str = ""
    tests: Annotated[list[Criterion], Field(min_length=1)]


class Claims(Entry):
    spread: Spread
    claims: list[Claim]
