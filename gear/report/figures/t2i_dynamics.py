"""Losses over the steps as running means, and each curve's speed-up over its baseline."""

from matplotlib.figure import Figure

from gear.report import caption
from gear.report.curves import loss_means, loss_speedups
from gear.report.figures.drawing import Drawing, legend_below
from gear.report.figures.style import COLOURS
from gear.study.vocabulary import METRICS, number

TITLES = {"ntp": "(a) next-token prediction", "align": "(b) alignment"}
AXES = {"ntp": "NTP loss (nats per token)", "align": "alignment loss (−cosine)"}
CSV = ("kind,metric,label,run,seed,step,value,baseline,baseline_step,baseline_value,paper").split(
    ","
)


def draw(results, spec):
    """A panel for each loss, with a line for each training."""
    curves = {curve["label"]: curve for curve in spec["curves"]}
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    panels, lines, factors = figure.subplots(1, len(spec["panels"])), [], {}
    for axes, metric in zip(panels, spec["panels"], strict=True):
        column = {"metric": metric, "window": spec["window"]}
        means = {label: loss_means(results, column, curve) for label, curve in curves.items()}
        lines += _csv_lines(metric, curves, means)
        for label, curve in curves.items():
            if curve["baseline"]:
                base = curves[curve["baseline"]]
                found = loss_speedups(results, column, curve, base)
                factors[metric, label] = found
                lines += _csv_speedups(spec, metric, curve, found)
        _panel(axes, metric, spec, means)
    legend_below(figure, panels[0])
    return Drawing(figure, CSV, lines, _sentences(spec, factors))


def _panel(axes, metric, spec, means):
    bases = {curve["baseline"] for curve in spec["curves"]}
    for place, (label, trainings) in enumerate(means.items()):
        look = {
            "color": COLOURS[place % len(COLOURS)],
            "linestyle": "--" if label in bases else "-",
        }
        for number_, points in enumerate(trainings.values()):
            first = {"label": label} if number_ == 0 else {}
            axes.plot(*zip(*points, strict=True), linewidth=1.1, alpha=0.85, **look, **first)
        if label in bases and trainings:
            end = next(iter(trainings.values()))[-1][1]
            dots = {"color": "#888888", "linestyle": ":", "linewidth": 0.9}
            axes.axhline(end, label=f"where {label} ends (first seed)", **dots)
    ends = [
        point for trainings in means.values() for points in trainings.values() for point in points
    ]
    last = max((step for step, _ in ends), default=0)
    late = [value for step, value in ends if step > 0.05 * last]
    if late:
        room = 0.05 * (max(late) - min(late)) or 0.01
        axes.set_ylim(min(late) - room, max(late) + room)  # the first steps would fill the panel
    axes.set_title(TITLES[metric], loc="left")
    axes.set_ylabel(AXES[metric])
    axes.set_xlabel("optimizer steps")


def _csv_lines(metric, curves, means):
    """Yields a line of the CSV for each point of the curves."""
    for label, trainings in means.items():
        runs = {seed: run for run, seed in curves[label]["seeds"].items()}
        for seed, points in trainings.items():
            head = {"kind": "running mean", "metric": metric, "label": label}
            head |= {"run": runs[seed], "seed": seed}
            for step, value in points:
                yield head | {"step": step, "value": value}


def _csv_speedups(spec, metric, curve, found):
    """Yields a line of the CSV for each speed-up: `value` is the factor, reached at `step`."""
    runs = {seed: run for run, seed in curve["seeds"].items()}
    printed = spec["paper"].get(curve["label"], {}).get(metric)
    for seed, speedup in found.items():
        yield {
            "kind": "speedup",
            "metric": metric,
            "label": curve["label"],
            "run": runs[seed],
            "seed": seed,
            "step": "" if speedup.reached is None else int(speedup.reached),
            "value": speedup.factor or "not reached",
            "baseline": curve["baseline"],
            "baseline_step": speedup.last,
            "baseline_value": speedup.target,
            "paper": printed,
        }


def _factor(speedup):
    if speedup.reached is None:
        return "not reached"
    return f"{'≥ ' if speedup.at_once else ''}{speedup.factor:.1f}×"


def _sentences(spec, factors):
    seeds = list(dict.fromkeys(s for curve in spec["curves"] for s in curve["seeds"].values()))
    many = f"A line for each training (seeds {', '.join(map(str, seeds))})."
    sentences = [
        f"Running means over {spec['window']:.0%} of the steps, of losses on training batches. The "
        "first 5 % of the steps do not set the height of the axes.",
        many if len(seeds) > 1 else f"One training per curve (seed {seeds[0]}).",
        "The NTP losses of two tokenizers do not compare: each predicts tokens of its own.",
        "Speed-up: the steps at which the baseline ends, divided by those at which the running "
        "mean is first where the baseline's ends, paired by seed. It counts the steps of this "
        "training alone, not those of the joint training that made the tokenizer, and not time.",
    ]
    for (metric, label), found in factors.items():
        said = ", ".join(_factor(speedup) for speedup in found.values())
        ends = ", ".join(number(s.target, METRICS[metric].decimals) for s in found.values())
        printed = spec["paper"].get(label, {}).get(metric)
        paper = f" The paper prints {printed}×." if printed else ""
        sentences.append(
            f"{METRICS[metric].name} of {label}, where its baseline ends ({ends}): {said}.{paper}"
        )
    steps = [stop | {"stage": c["stage"]} for c in spec["curves"] for stop in c["milestones"]]
    return sentences + caption.steps(steps)
