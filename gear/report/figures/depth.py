"""The AR's features against the teacher's, layer by layer (after the paper's Figure 5)."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gear.files.mistakes import Mistake
from gear.report import caption, files
from gear.report.figures.style import COLOURS, LINES, MARKERS
from gear.study.vocabulary import plain

PANELS = {  # measure of analysis/*.json: title
    "cknna_image": "(a) CKNNA, image",
    "cka_image": "(b) CKA, image",
    "moran": "(c) Moran's I",
    "cknna_patch": "(d) CKNNA, patch",
    "cka_patch": "(e) CKA, patch",
    "fft_high": "(f) high-frequency share",
}
TEACHER = "#555555"
COLUMNS = ("kind", "measure", "label", "run", "step", "layer", "value", "sd")


def _read(root, spec):
    """({label: {measure: [(layer, mean, sd or None)]}}, {teacher's label: {measure: mean}}, {label:
    how many values were undefined}) of what did not diverge."""
    curves, teachers, undefined = {}, {}, {}
    for row in spec["rows"]:
        found = files.read_json(root, row["file"])
        if found["layers"] is None:
            continue
        missing = [m for m in PANELS if m not in found["layers"]]
        if missing:
            raise Mistake(f"{row['file']} has no '{missing[0]}'; delete it and analyse again.")
        curves[row["label"]] = {
            measure: [
                (layer, *pair)
                for layer, pair in enumerate(zip(values["mean"], values["sd"], strict=True))
            ]
            for measure, values in found["layers"].items()
        }
        teacher = spec["teachers"][row["teacher"]]["label"]
        teachers[teacher] = {m: v["mean"] for m, v in found["teacher"].items()}
        if found["undefined"]:
            undefined[row["label"]] = sum(found["undefined"].values())
    return curves, teachers, undefined


def depth_similarity(root, spec):
    """Six panels over the layers; 0 is what the first block reads."""
    curves, teachers, undefined = _read(root, spec)
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True).flatten()
    for axes, (measure, title) in zip(panels, PANELS.items(), strict=True):
        _panel(axes, measure, spec, curves, teachers)
        axes.set_title(title, loc="left")
    for axes in panels[3:]:
        axes.set_xlabel("layer")
    handles, labels = panels[2].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(4, len(labels)), handlelength=3
    )
    said = _said(spec, curves, undefined)
    return figure, COLUMNS, _csv_lines(spec, curves, teachers), said


def _panel(axes, measure, spec, curves, teachers):
    last = max(len(found[measure]) - 1 for found in curves.values()) if curves else 1
    half = 0.03 * last  # of the vertical band's width
    for layer in sorted({row["aligned"] for row in spec["rows"]}):
        axes.axvspan(layer - half, layer + half, color="#e4e4e4", linewidth=0, zorder=0)
    for number, (label, found) in enumerate(curves.items()):
        layers, means, sds = zip(*found[measure], strict=True)
        look = {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % 4]}
        every = max(1, len(layers) // 8)
        axes.plot(
            layers,
            means,
            label=label,
            marker=MARKERS[number % len(MARKERS)],
            markevery=every,
            markersize=4,
            **look,
        )
        if None not in sds:
            ends = [[m + sign * s for m, s in zip(means, sds, strict=True)] for sign in (-1, 1)]
            axes.fill_between(layers, *ends, color=look["color"], alpha=0.15, linewidth=0)
    for name, own in teachers.items():
        if measure in own:
            axes.axhline(
                own[measure], color=TEACHER, linestyle=(0, (6, 3)), linewidth=1.1, label=name
            )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _csv_lines(spec, curves, teachers):
    """A line per drawn point, and one per horizontal line."""
    lines = []
    for measure in PANELS:
        for row in spec["rows"]:
            head = {"kind": "curve", "measure": measure}
            head |= {key: row[key] for key in ("label", "run", "step")}
            for layer, mean, sd in curves.get(row["label"], {}).get(measure, ()):
                lines.append(head | {"layer": layer, "value": plain(mean), "sd": plain(sd)})
        for name, own in teachers.items():
            if measure in own:
                head = {"kind": "teacher", "measure": measure, "label": name}
                lines.append(head | {"value": plain(own[measure])})
    return lines


def _said(spec, curves, undefined):
    """The caption: what is compared where, bands, and the choices of panels (c) and (f)."""
    chosen = spec["analysis"]
    aligned, seeds = (sorted({str(r[key]) for r in spec["rows"]}) for key in ("aligned", "seed"))
    said = [
        "Layer 0 is what the first block reads, layer l the raw output of block l, before the "
        "projector; the state that predicts patch k stands for patch k. Vertical band: the "
        f"aligned layer ({', '.join(aligned)}).",
        "Shaded: ± sample sd over images, in (a) and (b) over batches of "
        f"{chosen['batch']} images. One training per curve (seed {', '.join(seeds)}), so its "
        "spread is not known.",
        "Moran's I: neighbours beside, above and below on the token grid, per channel, mean over "
        "channels. High-frequency share: energy of the two-dimensional spectrum at radii above "
        f"{chosen['cutoff']:g} cycles per token, over that of all frequencies but 0, channels "
        "summed. Horizontal dashes: the teacher's own features.",
    ]
    if undefined:
        counts = ", ".join(f"{label}: {count} values" for label, count in undefined.items())
        said.append(f"Images whose features do not vary have no value and are left out ({counts}).")
    gone = [row["label"] for row in spec["rows"] if row["label"] not in curves]
    if gone:
        said.append(f"Diverged, not drawn: {', '.join(gone)}.")
    return said + caption.steps((r["stage"], r["step"], r["steps"]) for r in spec["rows"])
