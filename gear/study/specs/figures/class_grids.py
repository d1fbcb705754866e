"""Samples by class, of one of the samplers that are scored."""

from gear.study.specs.figure import rows


def spec(study, entry, where):
    return rows(study, entry, where, "decoded", entry["sampler"])
