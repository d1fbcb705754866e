"""The originals in the first row, then their reconstructions, one row per checkpoint."""

import numpy as np

from gear.files.mistakes import Mistake
from gear.report import caption
from gear.report.figures.drawing import Drawing
from gear.report.figures.grids import CSV, csv_line, draw_blocks, mosaic

ORIGINALS = 12  # columns


def draw(results, spec):
    """The checkpoints must have the same originals; Mistake names the first that has others."""
    rows = spec["rows"]
    archives = [results.arrays(row["file"], "originals", "reconstructions") for row in rows]
    originals = archives[0][0][:ORIGINALS]
    blocks, lines = [], []

    def add(row, array, pictures):
        lines.extend(csv_line(row, j, 0, array, j, picture) for j, picture in enumerate(pictures))
        blocks.append((row["label"], mosaic([list(pictures)])))

    add(rows[0] | {"label": "original", "run": "", "step": ""}, "originals", originals)
    for row, (own, reconstructions) in zip(rows, archives, strict=True):
        if not np.array_equal(own[: len(originals)], originals):
            raise Mistake(
                f"{row['file']} holds other originals than {rows[0]['file']}; delete both "
                "and score those checkpoints again."
            )
        add(row, "reconstructions", reconstructions[: len(originals)])
    sentences = ["The first images of the validation set, and what each tokenizer makes of them."]
    figure = draw_blocks(blocks, [""] * len(originals))
    return Drawing(figure, CSV, lines, sentences + caption.steps(rows))
