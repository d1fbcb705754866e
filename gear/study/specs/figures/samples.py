"""Samples by class, as the checkpoint's evaluation draws them: without guidance."""

from gear.study.specs.figure import rows


def spec(study, entry, where):
    return rows(study, entry, where, "pictures")
