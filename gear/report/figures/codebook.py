"""How sharply tokens choose their codes, over the joint training."""

from gear.files.mistakes import Mistake
from gear.report import caption
from gear.report.figures.drawing import Drawing, legend_below, six_panels
from gear.report.figures.style import COLOURS, LINES, MARKERS

PANELS = {  # column of curves.csv: title
    "top1": "(a) mass on the nearest code",
    "top10": "(b) mass on the 10 nearest",
    "usage": "(c) share of codes in use",
    "entropy": "(d) entropy of a token (nats)",
    "effective_size": "(e) effective size: exp of (d)",
    "perplexity": "(f) evenly used codes (perplexity)",
}
LISTED = ("top100", "top1000", "entropy_t1")  # in the figure's table only; older curves lack them
SHARES = ("top1", "top10", "usage")
LEAST = 4  # height of a panel, in units of what a curve moves by at its end; see _widen


def _read(results, path):
    """The data frame with step, each column of PANELS and those of LISTED that are there, of a
    curves.csv; lines without them are left out."""
    table, columns = results.csv(path), ["step", *PANELS]
    missing = [c for c in columns if table.empty or c not in table]
    if missing:
        raise Mistake(f"{path} has no column '{missing[0]}'; train that run again.")
    columns += [c for c in LISTED if c in table]
    try:
        return table[columns].replace("", None).dropna().astype(float).astype({"step": int})
    except ValueError as error:
        raise Mistake(f"{path} is damaged ({error}); train that run again.") from None


def draw(results, spec):
    """Six panels of how tokens choose their codes, over the joint training."""
    curves = {c["label"]: _read(results, c["file"]) for c in spec["curves"]}
    start = _start(spec, curves)
    figure, panels = six_panels(4.4, PANELS, "optimizer steps")
    for column, axes in panels.items():
        _panel(axes, column, spec, curves, start)
    _count_dead(panels["usage"], spec["codes"])
    legend_below(figure, panels["top1"])
    columns = ("kind", "label", "run", "step", *PANELS, "dead", *LISTED)
    return Drawing(figure, columns, _csv_lines(spec, curves, start), _sentences(spec, start))


def _start(spec, curves):
    """{column: value} of the first step, whose tokens are those of the weights that all trainings
    start from; {} for curves of before that step had a line."""
    if not spec["start"]:
        return {}
    table = curves[spec["curves"][0]["label"]]
    first = table[table["step"] == 1].drop(columns="step")
    return first.to_dict("records")[0] if len(first) else {}


def _dashes(spec, start):
    """The sentences on the horizontal line."""
    if start:
        return [
            f"Horizontal dashes: step 1 of {spec['curves'][0]['label']}, before any update. It is "
            "the tokenizer that all trainings start from, on training images, live weights and at "
            "the precision of the curves."
        ]
    missing = "There are no horizontal dashes: these trainings logged no step 1."
    return [missing] if spec["start"] else []


def _sentences(spec, start):
    milestones = [
        {"stage": "joint", "step": step, "steps": steps}
        for curve in spec["curves"]
        for step, steps in curve["milestones"].items()
    ]
    return [
        f"Per token p = softmax(scores / τ) over {spec['codes']} codes, τ = "
        f"{spec['temperature']:g}; means over tokens of training batches and over the steps "
        "between two points. (e) is the effective size, exp(mean entropy). Codes in use: hit by a "
        "token of a training batch; the others are dead in it (axis on the right). (f) is the "
        "perplexity of the use, exp of the entropy of the hits' shares: as many codes, each hit "
        "equally often, would be used as evenly. It is of the batch, not of a token.",
        "One training per curve.",
        *_dashes(spec, start),
        *caption.steps(milestones),
    ]


def _count_dead(axes, codes):
    """The number of dead codes on the right of the panel that shows the share in use."""
    dead = axes.secondary_yaxis(
        "right", functions=(lambda share: codes * (1 - share), lambda dead: 1 - dead / codes)
    )
    dead.set_ylabel("dead codes")
    dead.spines["right"].set_visible(True)


def _panel(axes, column, spec, curves, start):
    for number, (label, table) in enumerate(curves.items()):
        axes.plot(
            table["step"],
            table[column],
            label=label,
            color=COLOURS[number % len(COLOURS)],
            linestyle=LINES[number % 4],
            marker=MARKERS[number % len(MARKERS)],
            markevery=(0.03 * number, 0.15),
            markersize=4,
        )
    if start:
        dashes = {"color": "#555555", "linestyle": (0, (6, 3)), "linewidth": 1.1}
        axes.axhline(start[column], label=spec["start"], **dashes)
    smallest = 1 / spec["codes"] if column == "usage" else 0.0
    _widen(axes, [table[column] for table in curves.values()], smallest, column in SHARES)
    milestones = sorted({s for c in spec["curves"] for s in c["milestones"].values()})
    for steps in milestones:
        look = {"color": "#888888", "linestyle": (0, (1, 3)), "linewidth": 0.8}
        axes.axvline(steps, label="milestones" if steps == milestones[0] else None, **look)


def _widen(axes, curves, smallest, share):
    """Make a panel LEAST times as high, or more, as a curve moves over its last quarter of points.

    That movement is noise. Where nothing else happens, it would fill the panel and look large;
    where curves and dashes lie further apart than it, the panel keeps their distances. smallest:
    the least that counts as noise, such as one code of all; share: whether values end at 1."""
    ends = [curve.iloc[-max(2, len(curve) // 4) :] for curve in curves if len(curve)]
    noise = max((end.max() - end.min() for end in ends), default=0.0)
    noise = max(noise, smallest)
    low, high = axes.get_ylim()
    missing = max(0.0, LEAST * noise - (high - low))
    above = min(missing / 2, max(0.0, 1 - high)) if share else missing / 2
    axes.set_ylim(low - missing + above, high + above)


def _csv_lines(spec, curves, start):
    """A line per drawn point, and one for the start."""
    lines = []
    for curve in spec["curves"]:
        head = {"kind": "curve", "label": curve["label"], "run": curve["run"]}
        table = curves[curve["label"]]
        dead = (spec["codes"] * (1 - table["usage"])).round(6)
        lines += [head | point for point in table.assign(dead=dead).to_dict("records")]
    if start:
        head = {"kind": "reference", "label": spec["start"], "run": spec["curves"][0]["run"]}
        lines.append(head | {"step": 1} | start)
    return lines
