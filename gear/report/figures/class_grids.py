"""A grid of its own for each class, from the first samples of a scored archive."""

import numpy as np
from matplotlib.figure import Figure

from gear.report import caption
from gear.report.figures.drawing import Drawing
from gear.report.figures.grids import CSV, csv_line, inches, mosaic

LINES, COLUMNS = 2, 5  # of the grid of a class
BESIDE = 2  # grids side by side
HEAD, BETWEEN = 0.26, 0.25  # inches above a class's grid, and between two side by side


def draw(results, spec):
    """A tile stays white where a class has too few samples."""
    (row,) = spec["rows"]
    pictures, labels, seeds = results.arrays(row["file"], "samples", "labels", "seeds")
    white, grids, lines = np.full_like(pictures[0], 255), [], []
    for label in sorted(set(labels.tolist())):
        tiles = [[white] * COLUMNS for _ in range(LINES)]
        for i, index in enumerate(np.flatnonzero(labels == label)[: LINES * COLUMNS]):
            line, column = divmod(i, COLUMNS)
            tiles[line][column] = picture = pictures[index]
            cells = csv_line(row, column, line, "samples", int(index), picture, label)
            lines.append(cells | {"seed": int(seeds[index])})
        grids.append((str(label), mosaic(tiles)))
    who = f"{row['label']}, {caption.sampler_words(*spec['samplers'].values())}"
    sentences = [
        f"Drawn by {who}. The first {LINES * COLUMNS} images of each class that the sampler drew, "
        "in the order of their seeds, of the very images that the tables score; none was left out "
        "or chosen."
    ]
    sentences += caption.steps(spec["rows"])
    return Drawing(_side_by_side(grids, who), (*CSV, "seed"), lines, sentences)


def _side_by_side(grids, who):
    """A figure of (label, mosaic) pairs, BESIDE of them in a line, each under its class.

    who: the model and sampler that drew them, as the figure's title."""
    height, width, _ = grids[0][1].shape
    tile = inches(grids[0][1], COLUMNS)
    size = tile * COLUMNS, tile * COLUMNS * height / width + HEAD
    down = -(-len(grids) // BESIDE)
    figure = Figure(figsize=(size[0] * BESIDE + BETWEEN * (BESIDE - 1), size[1] * down))
    for number, (label, picture) in enumerate(grids):
        line, column = divmod(number, BESIDE)
        left = column * (size[0] + BETWEEN) / figure.get_figwidth()
        bottom, share = 1 - (line + 1) / down, (1 - HEAD / size[1]) / down
        axes = figure.add_axes((left, bottom, size[0] / figure.get_figwidth(), share))
        axes.imshow(picture, aspect="auto")
        axes.set_axis_off()
        axes.text(0, 1.03, f"class {label}", transform=axes.transAxes, va="bottom", fontsize=8)
    figure.text(0, 1 + 0.08 / figure.get_figheight(), who, va="bottom", fontweight="bold")
    return figure
