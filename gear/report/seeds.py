"""One number of several trainings that differ only in their seed."""

import math
import statistics
from dataclasses import dataclass, field


@dataclass
class Seeds:
    """A value per seed or run; None where that training diverged."""

    values: dict = field(default_factory=dict)

    @property
    def n(self):
        return len(self.values)

    @property
    def diverged(self):
        return sum(value is None for value in self.values.values())

    @property
    def whole(self):
        """Whether there are values and no training diverged."""
        return self.n > 0 and not self.diverged

    @property
    def mean(self):
        """Mean; None unless whole, because a mean without the diverged runs would be too good."""
        return statistics.fmean(self.values.values()) if self.whole else None

    @property
    def sd(self):
        """Sample standard deviation; None unless whole and n > 1, nan where a value is infinite."""
        values = self.values.values()
        if not self.whole or self.n < 2:
            return None
        return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan

    @property
    def lower(self):
        """How many values are below zero."""
        return sum(value is not None and value < 0 for value in self.values.values())

    @property
    def p(self):
        """p of the sign test; None unless whole."""
        return sign_test(self.values.values()) if self.whole else None


def sign_test(differences):
    """Exact two-sided p of the sign test; zeros do not count. 3 of 3 gives 0.25."""
    lower, higher = sum(d < 0 for d in differences), sum(d > 0 for d in differences)
    n, k = lower + higher, min(lower, higher)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def paired(a, b):
    """Seeds of a minus b, over the seeds that both have."""
    pairs = {seed: (a.values[seed], b.values[seed]) for seed in a.values if seed in b.values}
    return Seeds(
        {seed: None if None in pair else pair[0] - pair[1] for seed, pair in pairs.items()}
    )
