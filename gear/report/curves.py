"""A metric over the milestones of a training, and how much sooner it is where its baseline ends."""

import math
from dataclasses import dataclass

from gear.report.seeds import Seeds


@dataclass
class Point(Seeds):
    """One milestone of a curve: a value per run."""

    step: str = ""  # its name, such as 400k
    steps: int = 0  # optimizer steps


@dataclass(frozen=True)
class Speedup:
    """Where a curve reaches the value that its baseline ends with."""

    last: int  # the baseline's last steps
    target: float  # the baseline's value there
    reached: float | None  # the steps at which this curve has that value
    at_once: bool  # whether it has it at its first milestone

    @property
    def factor(self):
        return self.last / self.reached if self.reached else None


def read_curve(results, spec, curve):
    """[Point] of one curve of a spec, which names the metric and the protocol."""
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

    Between two milestones the value is taken as linear in the logarithm of the steps. A curve that
    is there at its first milestone returns that milestone. `better` is -1 where lower is better.
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
    """The Speedup of a curve over a baseline that has the value `target` at its last steps."""
    reached = reached_at([(point.steps, point.mean) for point in points], target, better)
    return Speedup(last, target, reached, reached == points[0].steps)
