"""How sharply tokens choose their codes, over the joint training."""

from gear.files.mistakes import Mistake
from gear.report import caption
from gear.report.figures.drawing import Drawing, legend_below, six_panels
from gear.report.figures.style import COLOURS, LINES, MARKERS

PANELS = {  # column of curves.csv and key of validation.json: title
    "top1": "(a) mass on the nearest code",
    "top10": "(b) mass on the 10 nearest",
    "usage": "(c) codes in use (share)",
    "entropy": "(d) soft entropy (nats)",
    "effective_size": "(e) effective size (codes)",
    "perplexity": "(f) perplexity of the use (codes)",
}
COUNTED = ("usage", "perplexity")  # of a batch; of more tokens they are higher


def _read(results, path):
    """The data frame with step and each column of PANELS of a curves.csv, lines without them left
    out."""
    table, columns = results.csv(path), ["step", *PANELS]
    missing = [c for c in columns if table.empty or c not in table]
    if missing:
        raise Mistake(f"{path} has no column '{missing[0]}'; train that run again.")
    try:
        return table[columns].replace("", None).dropna().astype(float).astype({"step": int})
    except ValueError as error:
        raise Mistake(f"{path} is damaged ({error}); train that run again.") from None


def draw(results, spec):
    """Six panels of how tokens choose their codes, over the joint training."""
    curves = {c["label"]: _read(results, c["file"]) for c in spec["curves"]}
    references = {}
    for reference in spec["references"]:
        values = results.group(reference["file"], "codebook") or {}
        references[reference["label"]] = {c: values.get(c) for c in PANELS if c not in COUNTED}
    figure, panels = six_panels(4.4, PANELS, "optimizer steps")
    for column, axes in panels.items():
        _panel(axes, column, spec, curves, references)
    _count_dead(panels["usage"], spec["codes"])
    legend_below(figure, panels["top1"])
    columns = ("kind", "label", "run", "step", *PANELS, "dead")
    return Drawing(figure, columns, _csv_lines(spec, curves, references), _sentences(spec))


def _sentences(spec):
    milestones = [
        {"stage": "joint", "step": step, "steps": steps}
        for curve in spec["curves"]
        for step, steps in curve["milestones"].items()
    ]
    return [
        f"Per token p = softmax(scores / τ) over {spec['codes']} codes, τ = "
        f"{spec['temperature']:g}; means over the tokens of a training batch. Effective size = "
        "exp(mean entropy). Codes in use: hit by a token of a training batch; the others are dead "
        "in it (axis on the right). Perplexity: exp of the entropy of the hits' shares.",
        "One training per curve. Horizontal dashes: the same numbers of the tokenizer that the "
        "trainings start from, on the validation images (not in (c) and (f), which count codes and "
        "so depend on the number of tokens). Vertical dots: milestones.",
        *caption.steps(milestones),
    ]


def _count_dead(axes, codes):
    """The number of dead codes on the right of the panel that shows the share in use."""
    dead = axes.secondary_yaxis(
        "right", functions=(lambda share: codes * (1 - share), lambda dead: 1 - dead / codes)
    )
    dead.set_ylabel("dead codes")
    dead.spines["right"].set_visible(True)


def _panel(axes, column, spec, curves, references):
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
    for label, values in references.items():
        if values.get(column) is not None:
            axes.axhline(
                values[column], color="#555555", linestyle=(0, (6, 3)), linewidth=1.1, label=label
            )
    for steps in {s for c in spec["curves"] for s in c["milestones"].values()}:
        axes.axvline(steps, color="#888888", linestyle=(0, (1, 3)), linewidth=0.8)


def _csv_lines(spec, curves, references):
    """A line per drawn point, and one per reference."""
    lines = []
    for curve in spec["curves"]:
        head = {"kind": "curve", "label": curve["label"], "run": curve["run"]}
        table = curves[curve["label"]]
        dead = (spec["codes"] * (1 - table["usage"])).round(6)
        lines += [head | point for point in table.assign(dead=dead).to_dict("records")]
    for reference in spec["references"]:
        head = {key: reference[key] for key in ("label", "run", "step")}
        lines.append({"kind": "reference"} | head | references[reference["label"]])
    return lines
