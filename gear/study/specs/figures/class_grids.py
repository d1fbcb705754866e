"""Samples by class, of one of the samplers that are scored."""

from gear.study.models.shown import Rows
from gear.study.specs.figure import rows


class Entry(Rows):
    sampler: str


def spec(study, entry, where):
    return rows(study, entry, where, "decoded", entry["sampler"])
