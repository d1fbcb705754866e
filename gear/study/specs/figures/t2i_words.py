"""Pictures with one digit per column and one pair of words per row: only the words differ."""

from gear.study.specs.figures.t2i_samples import Entry, spec

__all__ = ["Entry", "spec"]
