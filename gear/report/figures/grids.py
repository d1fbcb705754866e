"""Image grids: samples by class, and originals above their reconstructions."""

import hashlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from matplotlib.figure import Figure

from gear.files.mistakes import Mistake
from gear.report import caption

PER_CLASS = 3  # lines of a block of samples
COLUMNS = 10  # classes, evenly spaced where there are more
GRID = (2, 5)  # lines and columns of a class's own grid
GRIDS = 2  # of them side by side
ORIGINALS = 12  # columns of the reconstruction grid
GAP = 0.2  # between two blocks, in pictures
CSV = ("row", "run", "step", "column", "class", "line", "source", "array", "index", "sha256")
HEAD, BETWEEN = 0.26, 0.25  # inches above a class's grid, and between two side by side
SMALL, LARGE = 0.45, 1.0  # inches of a picture of up to 64 pixels, and of a larger one


def _load(root, path, *names):
    """The named arrays of root/path. Mistake where the file or an array is missing."""
    try:
        with np.load(Path(root) / path) as archive:
            missing = [name for name in names if name not in archive]
            if missing:
                raise Mistake(
                    f"{path} has no array '{missing[0]}'; delete it and draw that checkpoint again."
                )
            return [archive[name] for name in names]
    except FileNotFoundError:
        raise Mistake(f"{path} is missing below {root}; run the rule that makes it.") from None
    except Mistake:
        raise
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        cure = "delete it and draw that checkpoint again"
        raise Mistake(f"{path} is no complete .npz file ({error}); {cure}.") from None


def _line(row, column, line, array, index, picture, label=""):
    """The CSV line of one picture."""
    return {
        "row": row["label"], "run": row["run"], "step": row["step"], "column": column,
        "class": label, "line": line, "source": row["file"], "array": array, "index": index,
        "sha256": hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest(),
    }  # fmt: skip


def _mosaic(tiles):
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


def _draw(blocks, heads):
    """A figure of (label, mosaic) blocks below each other, `heads` above the columns."""
    columns = len(heads)
    tile = SMALL if blocks[0][1].shape[1] / columns <= 68 else LARGE
    heights = [columns * m.shape[0] / m.shape[1] for _, m in blocks]  # in tiles: square pixels
    top = total = sum(heights) + GAP * (len(blocks) - 1)
    figure = Figure(figsize=(tile * columns, tile * total))
    for number, ((label, mosaic), height) in enumerate(zip(blocks, heights, strict=True)):
        axes = figure.add_axes((0, (top - height) / total, 1, height / total))
        axes.imshow(mosaic, aspect="auto")
        axes.set_axis_off()
        axes.text(-0.015, 0.5, label, transform=axes.transAxes, ha="right", va="center")
        if number == 0:
            for column, head in enumerate(heads):
                place = (column + 0.5) / columns
                axes.text(place, 1.02, head, transform=axes.transAxes, ha="center", va="bottom")
        top -= height + GAP
    return figure


def _steps(rows):
    return caption.steps((row["stage"], row["step"], row["steps"]) for row in rows)


def samples(root, spec):
    """A block of lines per checkpoint, a column per class: the first samples of each class."""
    loaded = [_load(root, row["file"], "samples", "labels") for row in spec["rows"]]
    common = sorted(set.intersection(*(set(labels.tolist()) for _, labels in loaded)))
    if not common:
        raise Mistake("the checkpoints' pictures.npz share no class; draw them again.")
    pick = np.unique(np.linspace(0, len(common) - 1, min(COLUMNS, len(common))).round().astype(int))
    classes = [common[i] for i in pick]
    blocks, lines = [], []
    for row, (pictures, labels) in zip(spec["rows"], loaded, strict=True):
        found = [np.flatnonzero(labels == c)[:PER_CLASS] for c in classes]
        count = min(len(f) for f in found)
        tiles = [[pictures[found[j][i]] for j in range(len(classes))] for i in range(count)]
        lines += [
            _line(row, j, i, "samples", int(found[j][i]), tiles[i][j], classes[j])
            for i in range(count)
            for j in range(len(classes))
        ]
        blocks.append((row["label"], _mosaic(tiles)))
    said = [
        "Columns: classes. Lines of a block: the first samples of that class in the "
        "checkpoint's pictures, not chosen."
    ]
    return _draw(blocks, [str(c) for c in classes]), CSV, lines, said + _steps(spec["rows"])


def class_grids(root, spec):
    """A grid of its own for each class, from the first samples of a scored archive."""
    (row,) = spec["rows"]
    pictures, labels, seeds = _load(root, row["file"], "samples", "labels", "seeds")
    wanted, classes, lines = GRID[0] * GRID[1], sorted(set(labels.tolist())), []
    grids = []
    for label in classes:
        found = np.flatnonzero(labels == label)[:wanted]
        tiles = [[pictures[0] * 0 + 255] * GRID[1] for _ in range(GRID[0])]  # white where too few
        for i, index in enumerate(found):
            line, column = divmod(i, GRID[1])
            tiles[line][column] = pictures[index]
            made = _line(row, column, line, "samples", int(index), pictures[index], label)
            lines.append(made | {"seed": int(seeds[index])})
        grids.append((str(label), _mosaic(tiles)))
    said = [
        f"The first {wanted} images of each class that the sampler drew, in the order of their "
        "seeds, of the very images that the tables score; none was left out or chosen."
    ]
    return _draw_grids(grids), (*CSV, "seed"), lines, said + _steps(spec["rows"])


def _draw_grids(grids):
    """A figure of (label, mosaic) pairs, GRIDS side by side, each under its class."""
    height, width, _ = grids[0][1].shape
    tile = SMALL if width / GRID[1] <= 68 else LARGE
    size = tile * GRID[1], tile * GRID[1] * height / width + HEAD
    down = -(-len(grids) // GRIDS)
    figure = Figure(figsize=(size[0] * GRIDS + BETWEEN * (GRIDS - 1), size[1] * down))
    for number, (label, mosaic) in enumerate(grids):
        line, column = divmod(number, GRIDS)
        left = column * (size[0] + BETWEEN) / figure.get_figwidth()
        bottom, share = 1 - (line + 1) / down, (1 - HEAD / size[1]) / down
        axes = figure.add_axes((left, bottom, size[0] / figure.get_figwidth(), share))
        axes.imshow(mosaic, aspect="auto")
        axes.set_axis_off()
        axes.text(0, 1.03, f"class {label}", transform=axes.transAxes, va="bottom", fontsize=8)
    return figure


def reconstructions(root, spec):
    """The originals in the first row, then their reconstructions, one row per checkpoint."""
    loaded = [_load(root, row["file"], "originals", "reconstructions") for row in spec["rows"]]
    originals = loaded[0][0][:ORIGINALS]
    blocks = [("original", _mosaic([list(originals)]))]
    lines = [
        _line(
            spec["rows"][0] | {"label": "original", "run": "", "step": ""},
            j,
            0,
            "originals",
            j,
            picture,
        )
        for j, picture in enumerate(originals)
    ]
    for row, (here, made) in zip(spec["rows"], loaded, strict=True):
        if not np.array_equal(here[: len(originals)], originals):
            raise Mistake(
                f"{row['file']} holds other originals than {spec['rows'][0]['file']}; delete both "
                "and score those checkpoints again."
            )
        tiles = list(made[: len(originals)])
        lines += [_line(row, j, 0, "reconstructions", j, t) for j, t in enumerate(tiles)]
        blocks.append((row["label"], _mosaic([tiles])))
    said = ["The first images of the validation set, and what each tokenizer makes of them."]
    heads = [""] * len(originals)
    return _draw(blocks, heads), CSV, lines, said + _steps(spec["rows"])
