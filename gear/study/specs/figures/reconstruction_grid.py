"""Validation images and what each checkpoint's tokenizer makes of them."""

from gear.study.models.shown import Rows as Entry
from gear.study.specs.figure import rows

__all__ = ["Entry", "spec"]


def spec(study, entry, where):
    return rows(study, entry, where, "pictures")
