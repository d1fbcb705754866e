"""A table or page without a format (`Sheet`), and one function for each format.

A table, the page of claims and a figure's caption are built once, as a `Sheet` of plain text with
marks. Only `to_markdown`, `to_latex` and gear.report.html know how a format shows a mark. A new
format is one function, named in `formats`.
"""

from dataclasses import dataclass, field

# Placeholders for the look of a mark in a sentence; the look differs between formats (LOOKS).
PAPER, EMPHASIS, BEST, GAIN = "{paper}", "{emphasis}", "{best}", "{gain}"

TEX = {
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}",
    "−": "$-$", "±": r"$\pm$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "×": r"$\times$",
    "†": r"$^\dagger$", "‖": r"$\Vert$", "τ": r"$\tau$", "λ": r"$\lambda$", "Δ": r"$\Delta$",
    "“": "``", "”": "''", "–": "--", "·": r"$\cdot$", "*": "$^{*}$",
    "<": "$<$", ">": "$>$", "≤": r"$\leq$", "≥": r"$\geq$",
}  # fmt: skip
DETAILS = "Protocol, steps and stand-ins"  # heads the folded sentences


@dataclass(frozen=True)
class Cell:
    text: str = ""  # '' is shown as a dash
    bold: bool = False  # of a number: the best of the rows that are compared with each other
    emphasis: bool = False
    gain: str = ""  # the difference from another row, in smaller type
    paper: str = ""  # the paper's value; only in a column whose Head has `paper`
    paper_bold: bool = False  # the best of the paper's values of the same rows
    delta: str = ""  # the text's value minus the paper's
    below: str = ""  # a few words in smaller type below the text
    link: str = ""  # where the text leads, in HTML


@dataclass(frozen=True)
class Head:
    """The head of a column. Numbers are aligned to the right, sentences to the left."""

    text: str
    paper: str = ""  # name of the paper's values below ours; '' where the paper has none
    left: bool = False
    width: float | None = None  # of a column of sentences, as a share of the line

    @property
    def other_name(self):
        """Whether the paper's values have another name than ours, as gFID below gFD."""
        return self.paper not in ("", self.text.rstrip(" ↓↑"))


@dataclass(frozen=True)
class Grid:
    head: list  # of Head
    lines: list  # of lists of Cell
    above: str = ""  # sentences above the grid
    folded: bool = False  # shown on a click, where the format can fold; `above` is its head


@dataclass(frozen=True)
class Sheet:
    name: str
    title: str
    source: str = ""  # follows the title, such as ' · Table 1 of the paper'
    reading: str = ""  # how to read it, one line below the title
    grids: list = field(default_factory=list)
    notes: list = field(default_factory=list)  # paragraphs, each a list of sentences
    details: list = field(default_factory=list)  # sentences under DETAILS, folded
    picture: str = ""  # a file in the sheet's folder


def sentences(texts, looks):
    """The texts as one paragraph; looks: {mark: the words for its look in this format}."""
    text = " ".join(texts)
    for mark, look in looks.items():
        text = text.replace(mark, look)
    return text


def _cells(write, head, line):
    return [write(*pair) for pair in zip(head, line, strict=True)]


# ---- Markdown: ours, with the paper's value in italics below it ----------------------------------

LOOKS_MD = {
    PAPER: "Below ours, in italics", EMPHASIS: "in italics", BEST: "Bold", GAIN: "In brackets"
}  # fmt: skip


def md(text):
    """Text with the special characters of a Markdown table escaped."""
    return text.replace("|", r"\|").replace("*", r"\*").replace("_", r"\_")


def _cell_md(head, cell):
    alone = head.paper and cell.paper and not cell.text  # the paper's value, without ours
    text = "" if alone else md(cell.text) or "–"
    if cell.emphasis:
        text = f"*{text}*"
    if cell.bold and cell.text:
        text = f"**{text}**"
    lines = [" ".join(filter(None, (text, cell.gain))), cell.below]
    if head.paper and cell.paper:
        paper = f"***{cell.paper}***" if cell.paper_bold else f"*{cell.paper}*"
        lines.append(" ".join(filter(None, (paper, cell.delta))))
    return "<br>".join(filter(None, lines))


def _grid_md(grid):
    names = [md(h.text) + (f"<br>*{md(h.paper)}*" if h.other_name else "") for h in grid.head]
    rule = ["---" if h.left else "---:" for h in grid.head]
    lines = [_cells(_cell_md, grid.head, line) for line in grid.lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in (names, rule, *lines))


def _folded_md(head, text):
    """A block that opens on a click. Its head is HTML, where Markdown's escapes do not count."""
    return f"<details><summary>{head}</summary>\n\n{text}\n\n</details>"


def to_markdown(sheet):
    def prose(*texts):
        return md(sentences(texts, LOOKS_MD))

    blocks = ["## " + md(sheet.title + sheet.source)]
    blocks += [prose(sheet.reading)] if sheet.reading else []
    if sheet.picture:
        blocks.append(f"![{md(sheet.title)}]({sheet.picture})")
    for grid in sheet.grids:
        if grid.folded:
            blocks.append(_folded_md(grid.above, _grid_md(grid)))
        else:
            blocks += [prose(grid.above)] if grid.above else []
            blocks.append(_grid_md(grid))
    blocks += [prose(*paragraph) for paragraph in sheet.notes if paragraph]
    blocks += [_folded_md(DETAILS, prose(*sheet.details))] if sheet.details else []
    return "\n\n".join(blocks) + "\n"


# ---- LaTeX: the paper's value in a column of its own, in grey italics ----------------------------

LOOKS_TEX = LOOKS_MD | {PAPER: "In grey italics", EMPHASIS: "emphasised"}


def tex(text):
    """Text with special characters and the symbols of our tables written for LaTeX."""
    return "".join(TEX.get(character, character) for character in text)


def _cell_tex(head, cell):
    text = tex(cell.text or ("" if head.paper and cell.paper else "–"))
    if cell.emphasis:
        text = rf"\emph{{{text}}}"
    if cell.bold and cell.text:
        text = rf"\textbf{{{text}}}"
    for small in filter(None, (cell.gain, cell.below)):
        text += rf" {{\scriptsize {tex(small)}}}"
    if not head.paper:
        return text
    paper = rf"\textit{{{tex(cell.paper)}}}"
    if cell.paper_bold:
        paper = rf"\textbf{{{paper}}}"
    paper = rf"\textcolor{{gray}}{{{paper}}}" if cell.paper else ""
    delta = rf" {{\scriptsize {tex(cell.delta)}}}" if cell.delta else ""
    return f"{text} & {paper}{delta}"


def _head_tex(head):
    return rf"\multicolumn{{2}}{{c}}{{{tex(head.text)}}}" if head.paper else tex(head.text)


def _shape_tex(head):
    if head.width:
        return rf"p{{{head.width}\linewidth}}"
    if head.left:
        return "l"
    return "rl" if head.paper else "r"


def _grid_tex(grid, environment, rule):
    """The lines of a tabular or longtable; `rule` is the line below the head."""
    lines = [_cells(_cell_tex, grid.head, line) for line in grid.lines]
    return [
        rf"\begin{{{environment}}}{{{''.join(map(_shape_tex, grid.head))}}}",
        r"\toprule",
        " & ".join(map(_head_tex, grid.head)) + r" \\",
        rule,
        *(" & ".join(line) + r" \\" for line in lines),
        r"\bottomrule",
        rf"\end{{{environment}}}",
    ]


def to_latex(sheet):
    """Text for \\input: a longtable if there are columns of sentences, else a float."""

    def prose(*texts):
        return tex(sentences(texts, LOOKS_TEX))

    first = sheet.grids[0]
    notes = [sentence for paragraph in sheet.notes for sentence in paragraph]
    if any(head.width for head in first.head):
        text = [
            "% needs the packages booktabs and longtable",
            r"{\footnotesize\raggedright",
            *_grid_tex(first, "longtable", r"\midrule\endhead"),
            prose(first.above, *notes, *sheet.details),
            "}",
        ]
        return "\n".join([*text, ""])
    reading = [sheet.reading] if sheet.reading else []
    text = [
        "% needs the packages booktabs, graphicx and xcolor",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{prose(sheet.title + sheet.source + '.', *reading, *notes)}}}",
        rf"\label{{tab:{sheet.name}}}",
    ]
    for number, grid in enumerate(sheet.grids):
        text += ["", r"\medskip"] if number else []
        text += [prose(grid.above), "", r"\smallskip"] if grid.above else []
        text += _scaled_tex(grid)
    if sheet.details:
        text += ["", r"\medskip", rf"{{\footnotesize {prose(*sheet.details)}\par}}"]
    return "\n".join([*text, r"\end{table}", ""])


def _scaled_tex(grid):
    """The lines of a tabular that is scaled down if it is wider than the line."""
    lines = _grid_tex(grid, "tabular", r"\midrule")
    scale = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    return [scale, *lines[:-1], lines[-1] + "}"]


def formats(sheet):
    """{ending: text} of a sheet in every format."""
    from gear.report.html import to_html

    return {"md": to_markdown(sheet), "tex": to_latex(sheet), "html": to_html(sheet)}
