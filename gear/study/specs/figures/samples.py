"""Samples by class, as the checkpoint's evaluation draws them: without guidance."""

from gear.study.models.shown import Rows as Entry
from gear.study.specs.figure import rows

__all__ = ["Entry", "spec"]


def spec(study, entry, where):
    return rows(study, entry, where, "pictures")
