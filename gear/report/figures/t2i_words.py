"""Pictures with one digit per column, one pair of words per row, and one seed for all."""

from gear.data.captions import SLANTS, STROKES, words_of
from gear.files.mistakes import Mistake
from gear.report import caption
from gear.report.figures.drawing import Drawing
from gear.report.figures.grids import CSV, csv_line, draw_blocks, mosaic
from gear.t2i.shown import GUIDANCE

COLUMNS = 10


def draw(results, spec):
    """A Drawing with a row for each stroke and slant, and a column for each digit.

    Mistake: the prompts are others."""
    (row,) = spec["rows"]
    pictures, prompts = results.arrays(row["file"], "words", "words_prompts")
    words = [words_of(str(prompt)) for prompt in prompts]
    if len(words) % COLUMNS or [w["digit"] for w in words] != [*range(COLUMNS)] * (
        len(words) // COLUMNS
    ):
        raise Mistake(
            f"{row['file']}: its words are not of the digits 0 to 9 in turn; delete it and "
            "evaluate that checkpoint again."
        )
    blocks, lines = [], []
    for first in range(0, len(words), COLUMNS):
        tiles = [pictures[first + i][0] for i in range(COLUMNS)]
        label = f"{STROKES[words[first]['stroke']]}, {SLANTS[words[first]['slant']]}"
        blocks.append((label, mosaic([tiles])))
        for i, tile in enumerate(tiles):
            cells = csv_line(row, i, first // COLUMNS, "words", first + i, tile, i)
            lines.append(cells | {"prompt": str(prompts[first + i])})
    sentences = [
        f"Drawn by {row['label']} at guidance {GUIDANCE:g}, temperature 1, without top-k and "
        "top-p. All pictures have the same random numbers, so only the words differ: the prompts "
        f"are as “{prompts[0]}”. None was left out or chosen."
    ]
    figure = draw_blocks(blocks, [str(digit) for digit in range(COLUMNS)])
    return Drawing(figure, (*CSV, "prompt"), lines, sentences + caption.steps(spec["rows"]))
