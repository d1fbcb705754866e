"""How sharply tokens choose their codes, over the joint training."""

from matplotlib.figure import Figure

from gear.files.mistakes import Mistake
from gear.report import caption, files
from gear.report.figures.style import COLOURS, LINES, MARKERS
from gear.study.vocabulary import plain

PANELS = {  # column of curves.csv and key of validation.json: title
    "top1": "(a) mass on the nearest code",
    "top10": "(b) mass on the 10 nearest",
    "usage": "(c) codes in use (share)",
    "entropy": "(d) soft entropy (nats)",
    "effective_size": "(e) effective size (codes)",
    "perplexity": "(f) perplexity of the use (codes)",
}
COUNTED = ("usage", "perplexity")  # of a batch; of more tokens they are higher


def _read_columns(root, path):
    """[{step, and each column of PANELS}] of a curves.csv, lines without them left out."""
    lines = files.read_csv(root, path)
    missing = [c for c in ("step", *PANELS) if not lines or c not in lines[0]]
    if missing:
        raise Mistake(f"{path} has no column '{missing[0]}'; train that run again.")
    kept = [line for line in lines if all(line[c] not in ("", None) for c in PANELS)]
    try:
        return [
            {"step": int(float(line["step"]))} | {c: float(line[c]) for c in PANELS}
            for line in kept
        ]
    except ValueError as error:
        raise Mistake(f"{path} is damaged ({error}); train that run again.") from None


def codebook(root, spec):
    """Six panels of how tokens choose their codes, over the joint training."""
    curves = {c["label"]: _read_columns(root, c["file"]) for c in spec["curves"]}
    references = {}
    for reference in spec["references"]:
        values = files.read_json(root, reference["file"]).get("codebook") or {}
        references[reference["label"]] = {c: values.get(c) for c in PANELS if c not in COUNTED}
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True).flatten()
    for axes, (column, title) in zip(panels, PANELS.items(), strict=True):
        _panel(axes, column, title, spec, curves, references)
    for axes in panels[3:]:
        axes.set_xlabel("optimizer steps")
    _count_dead(panels[list(PANELS).index("usage")], spec["codes"])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(4, len(labels)), handlelength=3
    )
    said = [
        f"Per token p = softmax(scores / τ) over {spec['codes']} codes, τ = "
        f"{spec['temperature']:g}; means over the tokens of a training batch. Effective size = "
        "exp(mean entropy). Codes in use: hit by a token of a training batch; the others are dead "
        "in it (axis on the right). Perplexity: exp of the entropy of the hits' shares.",
        "One training per curve. Horizontal dashes: the same numbers of the tokenizer that the "
        "trainings start from, on the validation images (not in (c) and (f), which count codes and "
        "so depend on the number of tokens). Vertical dots: milestones.",
    ]
    said += caption.steps(
        ("joint", step, steps) for c in spec["curves"] for step, steps in c["milestones"].items()
    )
    return (
        figure,
        ("kind", "label", "run", "step", *PANELS, "dead"),
        _codebook_lines(spec, curves, references),
        said,
    )


def _count_dead(axes, codes):
    """The number of dead codes on the right of the panel that shows the share in use."""
    dead = axes.secondary_yaxis(
        "right", functions=(lambda share: codes * (1 - share), lambda dead: 1 - dead / codes)
    )
    dead.set_ylabel("dead codes")
    dead.spines["right"].set_visible(True)


def _panel(axes, column, title, spec, curves, references):
    for number, (label, lines) in enumerate(curves.items()):
        axes.plot(
            [x["step"] for x in lines],
            [x[column] for x in lines],
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
    axes.set_title(title, loc="left")


def _codebook_lines(spec, curves, references):
    """A line per drawn point, and one per reference."""
    lines = []
    for curve in spec["curves"]:
        for point in curves[curve["label"]]:
            lines.append(
                {
                    "kind": "curve",
                    "label": curve["label"],
                    "run": curve["run"],
                    "step": point["step"],
                }
                | {c: plain(point[c]) for c in PANELS}
                | {"dead": plain(round(spec["codes"] * (1 - point["usage"]), 6))}
            )
    for reference in spec["references"]:
        values = references[reference["label"]]
        lines.append(
            {
                "kind": "reference",
                "label": reference["label"],
                "run": reference["run"],
                "step": reference["step"],
            }
            | {c: plain(values.get(c)) for c in PANELS}
        )
    return lines
