"""What the module of a figure's kind returns: the figure, its numbers and its caption."""

from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """`draw(results, spec)` of each kind's module returns one."""

    figure: Figure
    columns: tuple  # of the CSV
    lines: list  # of the CSV, as dicts: exactly what is drawn
    sentences: list  # how to read the figure


def six_panels(height, titles, across):
    """(figure, {key: axes}) of 2 x 3 panels over one axis, from {key: title}."""
    figure = Figure(figsize=(7.2, height), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True)
    for axes, title in zip(panels.flat, titles.values(), strict=True):
        axes.set_title(title, loc="left")
    for axes in panels[1]:
        axes.set_xlabel(across)
    return figure, dict(zip(titles, panels.flat, strict=True))


def legend_below(figure, axes):
    """One legend for all panels, below them, ordered along its lines: matplotlib fills columns."""
    entries = list(zip(*axes.get_legend_handles_labels(), strict=True))
    columns = min(4, len(entries))
    entries = [entry for column in range(columns) for entry in entries[column::columns]]
    handles, labels = zip(*entries, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=3)
