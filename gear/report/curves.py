"""A metric over the milestones of a training, and its speed-up over a baseline."""

import math
from dataclasses import dataclass

from gear.report.seeds import Seeds


@dataclass
class Point(Seeds):
    """One milestone of a curve, with a value per run."""

    step: str = ""  # the milestone's name, such as 400k
    steps: int = 0  # optimizer steps


@dataclass(frozen=True)
class Speedup:
    """The steps at which a curve reaches the last value of its baseline."""

    last: int  # the baseline's last steps
    target: float  # the baseline's value there
    reached: float | None  # the steps at which this curve reaches that value; None: never
    at_once: bool  # whether the curve reaches it at its first milestone

    @property
    def factor(self):
        return self.last / self.reached if self.reached else None


def read_curve(results, spec, curve):
    """[Point] of one curve; spec: a mapping with the metric and its protocol."""
    metric = spec["protocol"], spec["metric"]
    return [
        Point(
            {run: results.value(path, *metric) for run, path in point["files"].items()},
            point["step"],
            point["steps"],
        )
        for point in curve["points"]
    ]


def before_divergence(points):
    """The points at which no training has diverged."""
    return [point for point in points if point.mean is not None]


def reached_at(points, target, better):
    """The optimizer steps at which a curve of (steps, value) first reaches `target`, or None.

    Between two milestones the value is interpolated linearly in the logarithm of the steps. If the
    first milestone already reaches the target, its steps are returned. better: -1 if lower values
    are better, else 1.
    """
    before = None
    for steps, value in points:
        if (value - target) * better >= 0:
            if before is None:
                return float(steps)
            share = (target - before[1]) / (value - before[1])
            return math.exp(math.log(before[0]) + share * math.log(steps / before[0]))
        before = (steps, value)
    return None


def speedup(points, last, target, better):
    """The Speedup of a curve over a baseline with the value `target` at `last` steps."""
    reached = reached_at([(point.steps, point.mean) for point in points], target, better)
    return Speedup(last, target, reached, reached == points[0].steps)
