"""Grouped bars of one metric: systems side by side at each model size, a panel for each sampler."""

from matplotlib.figure import Figure

from gear.report import caption
from gear.report.figures.drawing import Drawing
from gear.report.figures.style import COLOURS, HATCHES
from gear.report.tables.numbers import measure
from gear.study.vocabulary import ARROWS, METRICS, number, shown

QUOTED = "#aaaaaa"
WIDTH = 0.88  # of a group, in units of the distance between groups
CSV = ("panel,group,label,run,step,steps,protocol,metric,value,source").split(",")


def _value(results, spec, row, panel):
    """A bar's height; None where its run diverged or the paper prints none."""
    if "quoted" in row:
        printed = row["quoted"].get(panel)
        return None if printed is None else float(printed)
    return results.value(row["file"][panel], spec["protocol"], spec["metric"])


def _looks(rows):
    """{label: colour and hatch}: quoted systems are grey, so that ours look alike everywhere."""
    quoted = dict.fromkeys(row["label"] for row in rows if "quoted" in row)
    trained = dict.fromkeys(row["label"] for row in rows if "quoted" not in row)
    looks = {label: {"color": QUOTED, "hatch": ""} for label in quoted}
    pairs = zip(trained, COLOURS, HATCHES, strict=False)
    return looks | {label: {"color": c, "hatch": h} for label, c, h in pairs}


def _spread(results, spec):
    """(relative sd over seeds, the largest of the rows of the table `spread`; n); (None, 0): none.

    The scores are those without guidance, which alone have several seeds."""
    found = []
    for row in spec.get("seeded", ()):
        sampler = next(iter(row["replicas"][0]["files"]["generation"]))
        column = {k: spec[k] for k in ("metric", "protocol")} | {"sampler": sampler}
        seeds = measure(results, row, column)
        if seeds.sd is not None and seeds.mean:
            found.append((seeds.sd / abs(seeds.mean), seeds.n))
    return max(found, default=(None, 0))


def _panel(axes, spec, heights, labels, groups, spread):
    """Draw the bars of one sampler with their values; a diverged run has the word.

    heights: {(group, label): height}; spread: relative half of a whisker, or None."""
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
            whisker = (height or 0) * (spread or 0)
            if whisker and looks[label]["color"] != QUOTED:
                axes.errorbar(x, height, whisker, color="#333333", linewidth=0.9, capsize=2.5)
            text = "diverged" if height is None else number(height, decimals)
            axes.text(
                x, (height or 0) + whisker + 0.015 * top, text, ha="center", va="bottom",
                fontsize=7, rotation=90 if height is None else 0,
            )  # fmt: skip
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("model size")
    axes.set_ylim(0, (1.12 + (spread or 0)) * top)


def draw(results, spec):
    """A panel for each sampler, a group for each size, a bar for each system."""
    labels = list(dict.fromkeys(row["label"] for row in spec["rows"]))
    groups = list(dict.fromkeys(row["group"] for row in spec["rows"]))
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    panels, lines = figure.subplots(1, len(spec["panels"]), squeeze=False)[0], []
    head, (spread, n) = shown(spec["metric"], spec["protocol"]), _spread(results, spec)
    for letter, axes, panel in zip("abcdef", panels, spec["panels"], strict=False):
        values = [_value(results, spec, row, panel) for row in spec["rows"]]
        lines += [_line(spec, *bar, panel) for bar in zip(spec["rows"], values, strict=True)]
        names = ((row["group"], row["label"]) for row in spec["rows"])
        _panel(axes, spec, dict(zip(names, values, strict=True)), labels, groups, spread)
        words = caption.sampler_words(spec["samplers"][panel])
        axes.set_title(f"({letter}) {words}", loc="left")
    panels[0].set_ylabel(head + ARROWS[METRICS[spec["metric"]].better])
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    return Drawing(figure, CSV, lines, _sentences(spec, head, spread, n))


def _line(spec, row, value, panel):
    """The CSV line of one bar."""
    return {key: row.get(key, "") for key in ("group", "label", "run", "step", "steps")} | {
        "panel": panel,
        "protocol": spec["protocol"],
        "metric": spec["metric"],
        "value": "diverged" if value is None else value,
        "source": "quoted" if "quoted" in row else "trained",
    }


def _sentences(spec, head, spread, n):
    sentences = [f"{head} by model size; one training per bar, so its own spread is not known."]
    if spread:
        sentences.append(
            f"Whiskers: ± {spread:.0%} of the bar, the largest sample sd over seeds (n = {n}) that "
            f"table {spec['spread']} measured without guidance. Bars whose whiskers overlap may "
            "change places with another seed."
        )
    quoted = dict.fromkeys(row["label"] for row in spec["rows"] if "quoted" in row)
    if quoted:
        sentences.append(
            f"Quoted from the paper's Table {spec['table']}, not trained here: {', '.join(quoted)}."
        )
    return sentences + caption.steps(spec["rows"])
