"""One digit a column, one pair of words a row: only the words differ between the pictures."""

from gear.study.specs.figures.t2i_samples import Entry, spec

__all__ = ["Entry", "spec"]
