"""Prompts and their pictures: on the left the text, then the first pictures by each checkpoint."""

import textwrap

import numpy as np
from matplotlib.figure import Figure

from gear.files.mistakes import Mistake
from gear.report import caption
from gear.report.figures.drawing import Drawing
from gear.report.figures.grids import CSV, csv_line, inches, mosaic
from gear.t2i.shown import GUIDANCE

WIDTH, LINES = 38, 4  # of a prompt's text: letters in a line, and lines at most
BETWEEN = 0.3  # gap between two checkpoints, in pictures
UNSEEN = "†"


def draw(results, spec):
    """A Drawing with a line for each prompt. Mistake: the checkpoints have different prompts."""
    rows = spec["rows"]
    names = ("prompts", "prompts_prompts", "prompts_unseen")
    archives = [results.arrays(row["file"], *names) for row in rows]
    (_, prompts, unseen), blocks, lines = archives[0], [], []
    for row, (pictures, own, _) in zip(rows, archives, strict=True):
        if list(own) != list(prompts):
            raise Mistake(
                f"{row['file']} has other prompts than {rows[0]['file']}; delete both and "
                "evaluate those checkpoints again."
            )
        blocks.append((row["label"], mosaic([list(line) for line in pictures])))
        for i, line in enumerate(pictures):
            for j, picture in enumerate(line):
                index = i * len(line) + j
                cells = csv_line(row, j, i, "prompts", index, picture)
                lines.append(cells | {"prompt": str(prompts[i])})
    texts = [_text(str(p)) + f" {UNSEEN}" * bool(u) for p, u in zip(prompts, unseen, strict=True)]
    figure = _side_by_side(blocks, texts, archives[0][0].shape[1])
    return Drawing(figure, (*CSV, "prompt"), lines, _sentences(spec, archives[0][0], unseen))


def _text(prompt):
    """A prompt in lines, shortened where it is long."""
    lines = textwrap.wrap(prompt, WIDTH) or ["(empty)"]
    return "\n".join(lines if len(lines) <= LINES else [*lines[: LINES - 1], "..."])


def _side_by_side(blocks, texts, each):
    """A figure of (label, mosaic) pairs beside each other, with the texts to the left."""
    tile = inches(blocks[0][1], each)
    across = each * len(blocks) + BETWEEN * (len(blocks) - 1)
    height = tile * each * blocks[0][1].shape[0] / blocks[0][1].shape[1]
    figure = Figure(figsize=(tile * across, height))
    for number, (label, picture) in enumerate(blocks):
        left = number * (each + BETWEEN) / across
        axes = figure.add_axes((left, 0, each / across, 1))
        axes.imshow(picture, aspect="auto")
        axes.set_axis_off()
        axes.text(0, 1.01, label, transform=axes.transAxes, va="bottom", fontweight="bold")
        for line, text in enumerate(texts if number == 0 else ()):
            place = 1 - (line + 0.5) / len(texts)
            axes.text(-0.02, place, text, transform=axes.transAxes, ha="right", va="center")
    return figure


def _sentences(spec, pictures, unseen):
    count = pictures.shape[1]
    sentences = [
        f"Left the prompt, then the first {count} pictures of it by each model, in the order of "
        f"their random numbers, at guidance {GUIDANCE:g}, temperature 1, without top-k and top-p. "
        "None was left out or chosen."
    ]
    if np.any(unseen):
        sentences.append(f"{UNSEEN}: in words that training never has.")
    return sentences + caption.steps(spec["rows"])
