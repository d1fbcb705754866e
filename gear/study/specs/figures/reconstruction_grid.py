"""Validation images and what each checkpoint's tokenizer makes of them."""

from gear.study.specs.figure import rows


def spec(study, entry, where):
    return rows(study, entry, where, "pictures")
