"""What the three kinds of image grids share: pictures side by side, and a CSV line for each."""

import hashlib

import numpy as np
from matplotlib.figure import Figure

CSV = ("row", "run", "step", "column", "class", "line", "source", "array", "index", "sha256")
GAP = 0.2  # between two blocks, in pictures


def csv_line(row, column, line, array, index, picture, label=""):
    """The CSV line of one picture."""
    return {
        "row": row["label"], "run": row["run"], "step": row["step"], "column": column,
        "class": label, "line": line, "source": row["file"], "array": array, "index": index,
        "sha256": hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest(),
    }  # fmt: skip


def mosaic(tiles):
    """Rows of uint8 pictures (H, W, C) as one RGB picture with white lines between them."""
    height, width, _ = tiles[0][0].shape
    gap = max(1, width // 16)
    canvas = np.full(
        (len(tiles) * (height + gap) - gap, len(tiles[0]) * (width + gap) - gap, 3), 255, np.uint8
    )
    for i, row in enumerate(tiles):
        for j, tile in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            canvas[top : top + height, left : left + width] = tile  # C = 1 becomes grey
    return canvas


def inches(picture, columns):
    """Side of a drawn picture: 0.6 inches of one of up to 64 pixels, 1 inch of a larger one."""
    return 0.6 if picture.shape[1] / columns <= 68 else 1.0


def draw_blocks(blocks, heads):
    """A figure of (label, mosaic) blocks below each other, `heads` above the columns."""
    columns = len(heads)
    tile = inches(blocks[0][1], columns)
    heights = [columns * m.shape[0] / m.shape[1] for _, m in blocks]  # in tiles: square pixels
    top = total = sum(heights) + GAP * (len(blocks) - 1)
    figure = Figure(figsize=(tile * columns, tile * total))
    for number, ((label, picture), height) in enumerate(zip(blocks, heights, strict=True)):
        axes = figure.add_axes((0, (top - height) / total, 1, height / total))
        axes.imshow(picture, aspect="auto")
        axes.set_axis_off()
        axes.text(-0.015, 0.5, label, transform=axes.transAxes, ha="right", va="center")
        if number == 0:
            for column, head in enumerate(heads):
                place = (column + 0.5) / columns
                axes.text(place, 1.02, head, transform=axes.transAxes, ha="center", va="bottom")
        top -= height + GAP
    return figure
