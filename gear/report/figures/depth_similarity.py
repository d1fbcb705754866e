"""The AR's features against the teacher's, layer by layer (after the paper's Figure 5)."""

import math

from matplotlib.ticker import MaxNLocator

from gear.files.mistakes import Mistake
from gear.files.reading import required
from gear.report import caption
from gear.report.figures.drawing import Drawing, legend_below, six_panels
from gear.report.figures.style import COLOURS, LINES, MARKERS

PANELS = {  # measure of analysis/*.json: title
    "cknna_image": "(a) whole images",
    "cka_image": "(b) whole images",
    "moran": "(c) smoothness",
    "cknna_patch": "(d) patches of an image",
    "cka_patch": "(e) patches of an image",
    "fft_high": "(f) detail",
}
AXES = {
    "cknna_image": "CKNNA with the teacher",
    "cka_image": "CKA with the teacher",
    "moran": "Moran's I",
    "cknna_patch": "CKNNA with the teacher",
    "cka_patch": "CKA with the teacher",
    "fft_high": "high-frequency share",
}
BATCHED = ("cknna_image", "cka_image")  # their values are of batches, the others' of images
GROUPS = ("layers", "teacher", "undefined")  # of an analysis
CURE = "delete it and analyse again"
TEACHER = "#555555"
COLUMNS = ("kind", "measure", "label", "run", "step", "layer", "value", "sd")


def _read(results, spec):
    """{label: its analysis} of the rows that did not diverge."""
    analyses = {}
    for row in spec["rows"]:
        groups = {name: results.group(row["file"], name, CURE) for name in GROUPS}
        if groups["layers"] is not None:
            _require_panels(groups["layers"], row["file"])
            analyses[row["label"]] = groups
    return analyses


def _require_panels(layers, path):
    """Mistake unless a group of an analysis has each measure of PANELS as lists of one length."""
    for measure in PANELS:
        if measure not in layers:
            raise Mistake(f"{path} has no '{measure}'; {CURE}.")
        curve = required(layers, measure, dict, path, CURE)
        means, sds = (required(curve, key, list, path, CURE) for key in ("mean", "sd"))
        if len(means) != len(sds) or not all(
            value is None or isinstance(value, int | float) for value in (*means, *sds)
        ):
            raise Mistake(f"{path}: '{measure}' has no number for each layer; {CURE}.")


def draw(results, spec):
    """Six panels over the layers; 0 is what the first block reads."""
    analyses = _read(results, spec)
    teachers = {
        spec["teachers"][row["teacher"]]["label"]: analyses[row["label"]]["teacher"]
        for row in spec["rows"]
        if row["label"] in analyses
    }
    figure, panels = six_panels(4.5, PANELS, "layer")
    chosen = spec["analysis"]
    for measure, axes in panels.items():
        axes.set_ylabel(AXES[measure])
        n = chosen["images"] // (chosen["batch"] if measure in BATCHED else 1)
        layers = {label: analysis["layers"][measure] for label, analysis in analyses.items()}
        _panel(axes, measure, spec, layers, teachers, n)
    legend_below(figure, panels["moran"])
    lines = _csv_lines(spec, analyses, teachers)
    return Drawing(figure, COLUMNS, lines, _sentences(spec, analyses))


def _panel(axes, measure, spec, curves, teachers, n):
    """Curves are {label: {mean: [of each layer], sd: [of each layer, or None]}}, over n values."""
    last = max((len(curve["mean"]) - 1 for curve in curves.values()), default=1)
    half = 0.03 * last  # of the vertical band's width
    band = {"color": "#e4e4e4", "linewidth": 0, "zorder": 0}
    for number, layer in enumerate(sorted({row["aligned"] for row in spec["rows"]})):
        name = None if number else "aligned layer"
        axes.axvspan(layer - half, layer + half, label=name, **band)
    for number, (label, curve) in enumerate(curves.items()):
        mean, sd = curve["mean"], curve["sd"]
        look = {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % 4]}
        axes.plot(
            range(len(mean)),
            mean,
            label=label,
            marker=MARKERS[number % len(MARKERS)],
            markevery=max(1, len(mean) // 8),
            markersize=4,
            **look,
        )
        if None not in sd:
            errors = [(m, s / math.sqrt(n)) for m, s in zip(mean, sd, strict=True)]
            ends = [[m + sign * error for m, error in errors] for sign in (-2, 2)]
            axes.fill_between(range(len(mean)), *ends, color=look["color"], alpha=0.2, linewidth=0)
    for name, own in teachers.items():
        if measure in own:
            look = {"color": TEACHER, "linestyle": (0, (6, 3)), "linewidth": 1.1}
            axes.axhline(own[measure]["mean"], label=name, **look)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _csv_lines(spec, analyses, teachers):
    """A line per drawn point, and one per horizontal line."""
    lines = []
    for measure in PANELS:
        for row in (row for row in spec["rows"] if row["label"] in analyses):
            head = {"kind": "curve", "measure": measure}
            head |= {key: row[key] for key in ("label", "run", "step")}
            curve = analyses[row["label"]]["layers"][measure]
            for layer, (mean, sd) in enumerate(zip(curve["mean"], curve["sd"], strict=True)):
                lines.append(head | {"layer": layer, "value": mean, "sd": sd})
        for name, own in teachers.items():
            if measure in own:
                head = {"kind": "teacher", "measure": measure, "label": name}
                lines.append(head | {"value": own[measure]["mean"]})
    return lines


def _sentences(spec, analyses):
    """The caption: what is compared where, bands, and the choices of panels (c) and (f)."""
    chosen = spec["analysis"]
    aligned, seeds = (sorted({str(r[key]) for r in spec["rows"]}) for key in ("aligned", "seed"))
    sentences = [
        "Layer 0 is what the first block reads, layer l the raw output of block l, before the "
        "projector; the state that predicts patch k stands for patch k. Aligned layer: "
        f"{', '.join(aligned)}.",
        "Shaded: ± 2 standard errors of the mean over the images, in (a) and (b) over batches of "
        f"{chosen['batch']} images: how far the value would move with other images. One training "
        f"per curve (seed {', '.join(seeds)}), so how far another training would be is not known. "
        "The paper shades ± 1 sd over images, which the CSV has.",
        "Moran's I: neighbours beside, above and below on the token grid, per channel, mean over "
        "channels. High-frequency share: energy of the two-dimensional spectrum at radii above "
        f"{chosen['cutoff']:g} cycles per token, over that of all frequencies but 0, channels "
        "summed. Horizontal dashes: the teacher's own features.",
    ]
    undefined = {label: sum(analysis["undefined"].values()) for label, analysis in analyses.items()}
    counts = ", ".join(f"{label}: {count} values" for label, count in undefined.items() if count)
    if counts:
        sentences.append(
            f"Images whose features do not vary have no value and are left out ({counts})."
        )
    gone = [row["label"] for row in spec["rows"] if row["label"] not in analyses]
    if gone:
        sentences.append(f"Diverged, not drawn: {', '.join(gone)}.")
    return sentences + caption.steps(spec["rows"])
