"""A metric over training, and how much sooner a curve is where its baseline ends."""

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from gear.report.curves import before_divergence, read_curve, speedup
from gear.report.figures.drawing import Drawing
from gear.report.figures.style import COLOURS, MARKERS
from gear.study.vocabulary import ARROWS, METRICS, shown

CSV = (
    "kind,curve,runs,step,steps,n,protocol,metric,value,sd,baseline,baseline_steps,baseline_value"
).split(",")
LOG_Y = 6.0  # ratio of largest to smallest value from which the value axis is logarithmic


def _factor(speedup):
    """'1.7×', '≥ 8.0×' where the curve is there at its first milestone, or 'not reached'."""
    if speedup.reached is None:
        return "not reached"
    return f"{'≥ ' if speedup.at_once else ''}{speedup.factor:.1f}×"


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
    for step in sorted(names):  # lower where it would run into the one before
        text = names[step] if same else f"{step}\n({names[step]})"
        near = step <= 1.2 * last
        labels.append("\n" * (text.count("\n") + 1) + text if near else text)
        last = 0 if near else step
    axes.set_xticklabels(labels)
    named = "" if same else ", below them the name of the milestone"
    axes.set_xlabel(f"optimizer steps (logarithmic){named}")


def _value_axis(axes, values):
    """Logarithmic where the values span much, with plain numbers as ticks."""
    if values and min(values) > 0 and max(values) / min(values) > LOG_Y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_locator(NullLocator())


def draw(results, spec):
    """The metric at each milestone, with error bars (± sd) where a curve has several runs."""
    better = METRICS[spec["metric"]].better
    curves = {c["label"]: read_curve(results, spec, c) for c in spec["curves"]}
    drawn = {label: before_divergence(points) for label, points in curves.items()}
    speedups = {}
    for curve in spec["curves"]:
        points, baseline = drawn[curve["label"]], drawn.get(curve["baseline"])
        if points and baseline:
            end = baseline[-1]
            speedups[curve["label"]] = speedup(points, end.steps, end.mean, better)
    figure = Figure(figsize=(5.4, 3.6))
    axes, looks = figure.add_subplot(), _looks(spec["curves"])
    for label, points in drawn.items():
        several = any(point.n > 1 for point in points)
        words = f"  [{_factor(speedups[label])}]" if several and label in speedups else ""
        axes.errorbar(
            [p.steps for p in points],
            [p.mean for p in points],
            yerr=[p.sd or 0 for p in points] if any(p.sd for p in points) else None,
            capsize=2,
            label=label + words,
            **looks[label],
        )
    _milestone_axis(axes, _milestones(spec))
    _value_axis(axes, [p.mean for points in drawn.values() for p in points])
    head = shown(spec["metric"], spec["protocol"])
    axes.set_ylabel(head + ARROWS[better])
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        handlelength=3,
    )
    lines = _csv_lines(spec, curves, speedups)
    return Drawing(figure, CSV, lines, _sentences(spec, head, drawn, speedups))


def _milestones(spec):
    """{steps: the names of the milestones there}."""
    names = {}
    for curve in spec["curves"]:
        for point in curve["points"]:
            names.setdefault(point["steps"], {})[point["step"]] = None
    return {steps: " / ".join(stops) for steps, stops in names.items()}


def _csv_lines(spec, curves, speedups):
    """A line per point, and one per speed-up: its `value` is the factor, reached at `steps`."""
    lines = []
    for curve in spec["curves"]:
        label, runs = curve["label"], " ".join(curve["points"][0]["files"])
        head = {"curve": label, "runs": runs} | {k: spec[k] for k in ("protocol", "metric")}
        for point in curves[label]:
            cells = {"kind": "point", "step": point.step, "steps": point.steps, "n": point.n}
            value = "diverged" if point.mean is None else point.mean
            lines.append(head | cells | {"value": value, "sd": point.sd})
        if label in speedups:
            sooner = speedups[label]
            lines.append(
                head
                | {
                    "kind": "speedup",
                    "steps": sooner.reached,
                    "value": sooner.factor or "not reached",
                    "baseline": curve["baseline"],
                    "baseline_steps": float(sooner.last),
                    "baseline_value": sooner.target,
                }
            )
    return lines


def _sentences(spec, head, drawn, speedups):
    """The caption: how often, what the factor counts, and each factor in words."""
    decimals = METRICS[spec["metric"]].decimals
    counts = {len(p["files"]) for c in spec["curves"] for p in c["points"]}
    sentences = [
        f"{head} at the milestones of the training, which are joined by straight lines.",
        "One training per curve, so its spread is not known."
        if counts == {1}
        else "Error bars: ± sample sd over the trainings of a curve.",
    ]
    if speedups:
        sentences.append(
            "Speed-up: the steps at which the dashed baseline of the same "
            "colour ends, divided by those at which the curve first has the value that the "
            "baseline ends with (interpolated between milestones in the logarithm of the steps). "
            "It counts optimizer steps of the shown training alone, not those of the joint "
            "training that made its tokenizer, and not time."
        )
    for label, sooner in speedups.items():
        there = "not reached"
        if sooner.reached is not None:
            there = f"reached at {sooner.reached:.0f} steps ({_factor(sooner)})"
        sentences.append(
            f"{label}: {sooner.target:.{decimals}f}, which its baseline has at {sooner.last} "
            f"steps, is {there}."
        )
    gone = [c["label"] for c in spec["curves"] if len(drawn[c["label"]]) < len(c["points"])]
    if gone:
        sentences.append(f"Milestones after a divergence are not drawn: {', '.join(gone)}.")
    return sentences
