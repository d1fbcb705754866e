"""A metric over training, and how much sooner a curve is where its baseline ends."""

import math
import statistics

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from gear.files.mistakes import Mistake
from gear.report import files
from gear.report.figures.style import COLOURS, MARKERS
from gear.study.vocabulary import ARROWS, METRICS, plain, shown

LOG_Y = 6.0  # ratio of largest to smallest value from which the value axis is logarithmic


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


def read_curve(root, spec, curve):
    """[(step name, steps, n, mean or None if any run diverged, sd or None)] of one curve."""
    found = []
    for point in curve["points"]:
        values = []
        for path in point["files"].values():
            metrics = files.read_json(root, path)
            if spec["protocol"] not in metrics:
                raise Mistake(
                    f"{path} holds no '{spec['protocol']}'; delete it and score that checkpoint "
                    "again."
                )
            values.append((metrics[spec["protocol"]] or {}).get(spec["metric"]))
        whole = None not in values
        spread = statistics.stdev(values) if whole and len(values) > 1 else None
        mean = statistics.fmean(values) if whole else None
        found.append((point["step"], point["steps"], len(values), mean, spread))
    return found


def speedups(curves, better):
    """{label: (baseline's last steps, its value there, steps at which this curve is there)}.

    The last is None where the curve never gets there. `curves` is {label: (baseline, points)} with
    points (steps, value)."""
    found = {}
    for label, (baseline, points) in curves.items():
        if baseline and points and curves[baseline][1]:
            steps, target = curves[baseline][1][-1]
            found[label] = (steps, target, reached_at(points, target, better))
    return found


def _factor(speedup, points):
    """'1.7×', '≥ 8.0×' where the curve is there at its first milestone, or 'not reached'."""
    if speedup is None:
        return ""
    steps, _, reached = speedup
    if reached is None:
        return "not reached"
    first = "≥ " if reached == points[0][0] else ""
    return f"{first}{steps / reached:.1f}×"


def _looks(curves):
    """{label: line style}: a curve has the colour of its baseline, which is dashed and hollow."""
    looks, bases = {}, {c["baseline"] for c in curves if c["baseline"]}
    groups = list(dict.fromkeys(c["baseline"] or c["label"] for c in curves))
    for curve in curves:
        label, base = curve["label"], curve["baseline"] or curve["label"]
        number = groups.index(base)
        alone = curve["baseline"] is None and label not in bases
        colour = "black" if alone else COLOURS[number % (len(COLOURS) - 1)]
        looks[label] = {
            "color": colour,
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": ":" if alone else "--" if label in bases else "-",
            "markerfacecolor": "white" if label in bases else colour,
        }
    return looks


def _milestone_axis(axes, names):
    """Log axis with a tick at each milestone: optimizer steps, and the name below where it says
    something else."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(names)))
    axes.xaxis.set_minor_locator(NullLocator())
    same = all(name == f"{steps // 1000}k" for steps, name in names.items())
    labels, last = [], 0
    for step in sorted(names):  # no label where it would run into the one before
        text = names[step] if same else f"{step}\n({names[step]})"
        labels.append(text if step > 1.2 * last else "")
        last = step if labels[-1] else last
    axes.set_xticklabels(labels)
    axes.set_xlabel("optimizer steps" + ("" if same else " (name of the milestone)"))


def _value_axis(axes, values):
    """Logarithmic where the values span much, with plain numbers as ticks."""
    if values and min(values) > 0 and max(values) / min(values) > LOG_Y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_locator(NullLocator())


def convergence(root, spec):
    """The metric at each milestone, with error bars (± sd) where a curve has several runs."""
    better, decimals = METRICS[spec["metric"]].better, METRICS[spec["metric"]].decimals
    read = {c["label"]: read_curve(root, spec, c) for c in spec["curves"]}
    drawn = {label: [p for p in points if p[3] is not None] for label, points in read.items()}
    simple = {
        c["label"]: (c["baseline"], [(p[1], p[3]) for p in drawn[c["label"]]])
        for c in spec["curves"]
    }
    factors = speedups(simple, better)
    figure = Figure(figsize=(5.4, 3.6))
    axes, looks, names = figure.add_subplot(), _looks(spec["curves"]), {}
    for label, points in drawn.items():
        words = _factor(factors.get(label), simple[label][1])
        axes.errorbar(
            [p[1] for p in points],
            [p[3] for p in points],
            yerr=[p[4] or 0 for p in points] if any(p[4] for p in points) else None,
            capsize=2,
            label=f"{label}  [{words}]" if words else label,
            **looks[label],
        )
    for curve in spec["curves"]:
        for point in curve["points"]:
            shared = names.setdefault(point["steps"], [])
            shared += [point["step"]] if point["step"] not in shared else []
    _milestone_axis(axes, {steps: " / ".join(found) for steps, found in names.items()})
    _value_axis(axes, [p[3] for points in drawn.values() for p in points])
    head = shown(spec["metric"], spec["protocol"])
    axes.set_ylabel(head + ARROWS[better])
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        title="curve  [speed-up]",
        title_fontsize=8,
        alignment="left",
        handlelength=3,
    )
    said = _convergence_words(spec, head, decimals, simple, factors)
    return figure, CONVERGENCE_CSV, _convergence_lines(spec, read, simple, factors), said


CONVERGENCE_CSV = (
    "kind,curve,runs,step,steps,n,protocol,metric,value,sd,baseline,baseline_steps,baseline_value"
).split(",")


def _convergence_lines(spec, read, simple, factors):
    """A line per point, and one per speed-up: its `value` is the factor, reached at `steps`."""
    lines = []
    for curve in spec["curves"]:
        label, runs = curve["label"], " ".join(curve["points"][0]["files"])
        head = {
            "curve": label,
            "runs": runs,
            "protocol": spec["protocol"],
            "metric": spec["metric"],
        }
        for step, steps, n, mean, spread in read[label]:
            value = "diverged" if mean is None else plain(mean)
            lines.append(
                head
                | {
                    "kind": "point",
                    "step": step,
                    "steps": steps,
                    "n": n,
                    "value": value,
                    "sd": plain(spread),
                }
            )
        if label in factors:
            last, target, reached = factors[label]
            value = "not reached" if reached is None else plain(last / reached)
            lines.append(
                head
                | {
                    "kind": "speedup",
                    "steps": plain(reached),
                    "value": value,
                    "baseline": curve["baseline"],
                    "baseline_steps": plain(last),
                    "baseline_value": plain(target),
                }
            )
    return lines


def _convergence_words(spec, head, decimals, simple, factors):
    """The caption: how often, what the factor counts, and each factor in words."""
    counts = {len(p["files"]) for c in spec["curves"] for p in c["points"]}
    said = [f"{head} at the milestones of the training, which are joined by straight lines."]
    said.append(
        "One training per curve, so its spread is not known."
        if counts == {1}
        else "Error bars: ± sample sd over the trainings of a curve."
    )
    if factors:
        said.append(
            "In square brackets, the speed-up: the steps at which the dashed baseline of the same "
            "colour ends, divided by those at which the curve first has the value that the "
            "baseline ends with (interpolated between milestones in the logarithm of the steps). "
            "It counts optimizer steps of the shown training alone, not those of the joint "
            "training that made its tokenizer, and not time."
        )
    for label, (last, target, reached) in factors.items():
        goal = f"{label}: {target:.{decimals}f}, which its baseline has at {last} steps, is "
        words = _factor(factors[label], simple[label][1])
        said.append(
            goal
            + ("not reached." if reached is None else f"reached at {reached:.0f} steps ({words}).")
        )
    gone = [c["label"] for c in spec["curves"] if len(simple[c["label"]][1]) < len(c["points"])]
    if gone:
        said.append(f"Milestones after a divergence are not drawn: {', '.join(gone)}.")
    return said
