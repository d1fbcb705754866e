"""Grouped bars of one metric: systems side by side at each model size, a panel for each sampler."""

from matplotlib.figure import Figure

from gear.files.mistakes import Mistake
from gear.report import caption, files
from gear.report.figures.style import COLOURS, HATCHES
from gear.study.vocabulary import ARROWS, METRICS, number, plain, shown

QUOTED = "#aaaaaa"
WIDTH = 0.88  # of a group, in units of the distance between groups
CSV = ("panel,group,label,run,step,steps,protocol,metric,value,source").split(",")


def _value(root, spec, row, panel):
    """A bar's height; None where its run diverged or the paper prints none."""
    if "quoted" in row:
        printed = row["quoted"].get(panel)
        return None if printed is None else float(printed)
    path = row["file"][panel]
    metrics = files.read_json(root, path)
    if spec["protocol"] not in metrics:
        raise Mistake(
            f"{path} holds no '{spec['protocol']}'; delete it and score that checkpoint again."
        )
    return (metrics[spec["protocol"]] or {}).get(spec["metric"])


def _looks(rows):
    """{label: colour and hatch}: quoted systems are grey, so that ours look alike everywhere."""
    quoted = dict.fromkeys(row["label"] for row in rows if "quoted" in row)
    trained = dict.fromkeys(row["label"] for row in rows if "quoted" not in row)
    looks = {label: {"color": QUOTED, "hatch": ""} for label in quoted}
    pairs = zip(trained, COLOURS, HATCHES, strict=False)
    return looks | {label: {"color": c, "hatch": h} for label, c, h in pairs}


def _panel(axes, spec, heights, labels, groups):
    """Bars of one sampler, their values above them; a run that diverged is said in words."""
    decimals, width = METRICS[spec["metric"]].decimals, WIDTH / len(labels)
    looks = _looks(spec["rows"])
    top = max((h for h in heights.values() if h is not None), default=1.0)
    for slot, label in enumerate(labels):
        for place, group in enumerate(groups):
            if (group, label) not in heights:
                continue
            height = heights[group, label]
            x = place + (slot - (len(labels) - 1) / 2) * width
            axes.bar(
                x, height or 0, 0.92 * width, edgecolor="white", linewidth=0,
                label=label if place == 0 else None, **looks[label],
            )  # fmt: skip
            text = "diverged" if height is None else number(height, decimals)
            axes.text(
                x, (height or 0) + 0.015 * top, text, ha="center", va="bottom", fontsize=6.5,
                rotation=90 if height is None else 0,
            )  # fmt: skip
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.set_ylim(0, 1.12 * top)


def bars(root, spec):
    """A panel for each sampler, a group for each size, a bar for each system."""
    labels = list(dict.fromkeys(row["label"] for row in spec["rows"]))
    groups = list(dict.fromkeys(row["group"] for row in spec["rows"]))
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    panels, lines = figure.subplots(1, len(spec["panels"]), squeeze=False)[0], []
    head = shown(spec["metric"], spec["protocol"])
    for letter, axes, panel in zip("abcdef", panels, spec["panels"], strict=False):
        heights = {}
        for row in spec["rows"]:
            value = _value(root, spec, row, panel)
            heights[row["group"], row["label"]] = value
            lines.append(
                {k: row.get(k, "") for k in ("group", "label", "run", "step", "steps")}
                | {
                    "panel": panel,
                    "protocol": spec["protocol"],
                    "metric": spec["metric"],
                    "value": "diverged" if value is None else plain(value),
                    "source": "quoted" if "quoted" in row else "trained",
                }
            )
        _panel(axes, spec, heights, labels, groups)
        words = caption.sampler_words(panel, spec["samplers"][panel])
        axes.set_title(f"({letter}) {words}", loc="left")
    panels[0].set_ylabel(head + ARROWS[METRICS[spec["metric"]].better])
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    return figure, CSV, lines, _words(spec, head)


def _words(spec, head):
    said = [f"{head} by model size; one training per bar, so its spread is not known."]
    quoted = [row["label"] for row in spec["rows"] if "quoted" in row]
    if quoted:
        names = ", ".join(dict.fromkeys(quoted))
        said.append(f"Quoted from the paper's Table {spec['table']}, not trained here: {names}.")
    trained = (row for row in spec["rows"] if "run" in row)
    return said + caption.steps((r["stage"], r["step"], r["steps"]) for r in trained)
