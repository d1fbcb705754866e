"""Samples by class: a block of lines per checkpoint, a column per class."""

import numpy as np

from gear.files.mistakes import Mistake
from gear.report import caption
from gear.report.figures.drawing import Drawing
from gear.report.figures.grids import CSV, csv_line, draw_blocks, mosaic

PER_CLASS = 3  # lines of a block
COLUMNS = 10  # classes, evenly spaced where there are more


def draw(results, spec):
    """The first samples of each class."""
    archives = [results.arrays(row["file"], "samples", "labels") for row in spec["rows"]]
    common = sorted(set.intersection(*(set(labels.tolist()) for _, labels in archives)))
    if not common:
        raise Mistake("the checkpoints' pictures.npz share no class; draw them again.")
    pick = np.unique(np.linspace(0, len(common) - 1, min(COLUMNS, len(common))).round().astype(int))
    classes = [common[i] for i in pick]
    blocks, lines = [], []
    for row, (pictures, labels) in zip(spec["rows"], archives, strict=True):
        first = [np.flatnonzero(labels == label)[:PER_CLASS] for label in classes]
        tiles = []
        for i in range(min(map(len, first))):
            indices = [int(of_class[i]) for of_class in first]
            tiles.append([pictures[index] for index in indices])
            lines += [
                csv_line(row, j, i, "samples", index, pictures[index], classes[j])
                for j, index in enumerate(indices)
            ]
        blocks.append((row["label"], mosaic(tiles)))
    sentences = [
        "Columns: classes. Lines of a block: the first samples of that class in the "
        "checkpoint's pictures, not chosen."
    ]
    figure = draw_blocks(blocks, [str(label) for label in classes])
    return Drawing(figure, CSV, lines, sentences + caption.steps(spec["rows"]))
