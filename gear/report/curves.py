"""A metric over the milestones of a training, or its losses over the steps; speed-ups of both."""

import math
from dataclasses import dataclass
from itertools import takewhile

from gear.files.mistakes import Mistake
from gear.report.seeds import Seeds

LOSSES = {"ntp": "ntp", "align": "align_ar"}  # metric: its column of curves.csv; lower is better


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


# ---- losses over the steps -----------------------------------------------------------------------


def read_loss(results, path, metric):
    """[(step, loss)] of a curves.csv. A line holds the mean of the steps since the line before it.

    Mistake: the file has no such column, no line, or a cell that is no number."""
    table, column = results.csv(path, ("step",)), LOSSES[metric]
    if column not in table or table.empty:
        raise Mistake(f"{path} has no column '{column}'; train that run again.")
    try:
        lines = table[["step", column]].replace("", None).dropna().astype(float)
    except ValueError as error:
        raise Mistake(f"{path} is damaged ({error}); train that run again.") from None
    if lines.empty:
        raise Mistake(f"{path} has no number in '{column}'; train that run again.")
    return [(int(step), loss) for step, loss in lines.itertuples(index=False)]


def running_mean(points, width):
    """[(step, mean over the last `width` steps)] of [(step, loss)], each weighted by its steps."""
    means, steps = [], [0, *(step for step, _ in points)]
    weighted = [
        (step, loss, step - before) for (step, loss), before in zip(points, steps, strict=False)
    ]
    first = 0
    for i, (step, _, _) in enumerate(weighted):
        while first < i and weighted[first][0] <= step - width:
            first += 1
        near = weighted[first : i + 1]
        total = sum(weight for _, _, weight in near)
        means.append((step, sum(loss * weight for _, loss, weight in near) / total))
    return means


def loss_means(results, column, curve):
    """{seed: running mean} of the trainings of a curve; column: with metric and window.

    The window is a share of a training's steps. A training that diverged ends before its first loss
    that is not finite."""
    means = {}
    for run, path in curve["files"].items():
        points = read_loss(results, path, column["metric"])
        finite = list(takewhile(is_finite, points))
        if finite:
            width = column["window"] * points[-1][0]
            means[curve["seeds"][run]] = running_mean(finite, width)
    return means


def is_finite(point):
    return math.isfinite(point[1])


def loss_diverged(results, column, curve):
    """Whether a training of a curve has a loss that is not finite."""
    read = (read_loss(results, path, column["metric"]) for path in curve["files"].values())
    return not all(is_finite(point) for points in read for point in points)


def sooner(means, base, shift=0.0):
    """The Speedup of a training over its baseline; means, base: running means of their losses.

    shift: added to the value at which the baseline ends."""
    last, target = base[-1][0], base[-1][1] + shift
    reached = next((float(step) for step, mean in means if mean <= target), None)
    return Speedup(last, target, reached, reached == means[0][0])


def loss_speedups(results, column, curve, baseline, shift=0.0):
    """{seed: Speedup} of a curve's trainings, for the seeds that its baseline has too."""
    ours, theirs = (loss_means(results, column, each) for each in (curve, baseline))
    return {s: sooner(ours[s], theirs[s], shift) for s in ours if s in theirs}
