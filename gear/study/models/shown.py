"""Models of config/tables.yaml, figures.yaml and claims.yaml."""

from typing import Annotated, Literal

import pydantic
from pydantic import AfterValidator, Discriminator, Field, Tag

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
    alone: bool = False  # one training, in a table of means over seeds
    quoted_under: str = ""  # sampler in whose columns the paper's values of another one stand

    @pydantic.model_validator(mode="after")
    def _another_is_the_baseline(self):
        if self.row == self.baseline:
            raise Mistake(f"the baseline of row '{self.row}' is the row itself; name another.")
        return self


class Part(Entry):
    """Columns below one head."""

    head: str
    metrics: Metrics
    sampler: str
    coco: str = ""  # sampler of the metrics of COCO


class Table(Entry):
    title: str
    stage: Literal[*STAGES] = ""
    note: str = ""
    reading: str = ""
    paper: Count = 1
    samplers: Names = []
    metrics: list_or_text(Metrics, str) = []
    parts: Annotated[list[Part], Field(min_length=1)] = []
    default: str = ""
    seeds: str = ""
    comparisons: list[Pair] = []
    rows: Annotated[list[Row], Field(min_length=1)]

    @pydantic.model_validator(mode="after")
    def _has_columns(self):
        if self.model_fields_set.isdisjoint(("metrics", "parts")):
            raise Mistake("a table needs `metrics` or `parts`; add one.")
        if "metrics" in self.model_fields_set and "samplers" not in self.model_fields_set:
            raise Mistake("a table with `metrics` needs `samplers`, which may be []; add it.")
        return self


class Setting(Entry):
    row: str
    setting: str
    paper: str = ""


class Configuration(Entry):
    """A table of the resolved settings of a run beside the paper's."""

    kind: Literal["configuration"]
    title: str
    note: str = ""
    reading: str = ""
    paper: Count = 1
    stage: Literal[*STAGES] = ""
    run: Checkpoint
    sampler: str
    rows: Annotated[list[Setting], Field(min_length=1)]


def _kind(entry):
    return "configuration" if isinstance(entry, dict) and "kind" in entry else "table"


AnyTable = Annotated[
    Annotated[Table, Tag("table")] | Annotated[Configuration, Tag("configuration")],
    Discriminator(_kind),
]


class Tables(Entry, extra="allow"):
    __pydantic_extra__: dict[text("name of a table or figure"), AnyTable]
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
    made_captions: bool = False  # it needs the captions of digits


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
    page: text("name of a table or figure") = ""
    ours: bool = False
    table: str = ""
    figure: str = ""
    tests: Annotated[list[Criterion], Field(min_length=1)]


class Page(Entry):
    """Claims on a page of their own."""

    title: str
    spread: Spread


class Claims(Entry):
    spread: Spread
    pages: dict[text("name of a table or figure"), Page] = {}
    claims: list[Claim]
