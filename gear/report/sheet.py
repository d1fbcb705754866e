"""A table or page without a format (`Sheet`), and one function for each format.

A table, the page of claims and a figure's caption are built once, as a `Sheet` of plain text with
marks. Only `to_markdown`, `to_latex` and `to_html` know how a format shows a mark. A new format is
one function, named in FORMATS.
"""

from dataclasses import dataclass, field

# Placeholders for the look of a mark in a sentence; the look differs between formats.
PAPER, EMPHASIS = "{paper}", "{emphasis}"

TEX = {
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}",
    "−": "$-$", "±": r"$\pm$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "×": r"$\times$",
    "†": r"$^\dagger$", "‖": r"$\Vert$", "τ": r"$\tau$", "λ": r"$\lambda$", "Δ": r"$\Delta$",
    "“": "``", "”": "''", "–": "--", "·": r"$\cdot$", "*": "$^{*}$",
    "<": "$<$", ">": "$>$", "≤": r"$\leq$", "≥": r"$\geq$",
}  # fmt: skip
STYLE = (
    "body{font-family:sans-serif;margin:1.5em;max-width:75em}"
    "table{border-collapse:collapse;margin:1em 0}"
    "th,td{padding:.25em .8em;border-bottom:1px solid #ddd}"
)


@dataclass(frozen=True)
class Cell:
    text: str = ""  # '' is shown as a dash
    bold: bool = False
    emphasis: bool = False
    gain: str = ""  # the difference from another row, in smaller type
    paper: str = ""  # the paper's value; only in a column whose Head has `paper`
    delta: str = ""  # the text's value minus the paper's


@dataclass(frozen=True)
class Head:
    """The head of a column. Numbers are aligned to the right, sentences to the left."""

    text: str
    paper: str = ""  # name of the paper's values beside ours; '' where the paper has none
    left: bool = False
    width: float | None = None  # of a column of sentences, as a share of the line


@dataclass(frozen=True)
class Grid:
    head: list  # of Head
    lines: list  # of lists of Cell
    above: str = ""  # sentences above the grid


@dataclass(frozen=True)
class Sheet:
    name: str
    title: str
    source: str = ""  # follows the title, such as ' · Table 1 of the paper'
    grids: list = field(default_factory=list)
    notes: list = field(default_factory=list)  # paragraphs, each a list of sentences
    picture: str = ""  # a file in the sheet's folder


def _sentences(texts, paper, emphasis):
    return " ".join(texts).replace(PAPER, paper).replace(EMPHASIS, emphasis)


def _cells(write, head, line):
    return [write(*pair) for pair in zip(head, line, strict=True)]


# ---- Markdown: `ours ± sd (gain) ‖ *paper* Δ` ----------------------------------------------------


def md(text):
    """Text with the special characters of a Markdown table escaped."""
    return text.replace("|", r"\|").replace("*", r"\*").replace("_", r"\_")


def _cell_md(head, cell):
    text = md(cell.text) or "–"
    if cell.emphasis:
        text = f"*{text}*"
    if cell.bold and cell.text:
        text = f"**{text}**"
    paper = ""
    if head.paper and (cell.text or cell.paper):
        paper = f"‖ *{cell.paper}*" if cell.paper else "‖ –"
    return " ".join(part for part in (text, cell.gain, paper, cell.delta) if part)


def _grid_md(grid):
    names = [md(h.text) + (f" ‖ *{md(h.paper)}*" if h.paper else "") for h in grid.head]
    rule = ["---" if h.left else "---:" for h in grid.head]
    lines = [_cells(_cell_md, grid.head, line) for line in grid.lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in (names, rule, *lines))


def to_markdown(sheet):
    def prose(*sentences):
        return md(_sentences(sentences, paper="Right of ‖, in italics", emphasis="in italics"))

    blocks = ["## " + md(sheet.title + sheet.source)]
    if sheet.picture:
        blocks.append(f"![{md(sheet.title)}]({sheet.picture})")
    for grid in sheet.grids:
        blocks += [prose(grid.above)] if grid.above else []
        blocks.append(_grid_md(grid))
    blocks += [prose(*paragraph) for paragraph in sheet.notes if paragraph]
    return "\n\n".join(blocks) + "\n"


# ---- LaTeX: the paper's value in a column of its own, in grey italics ----------------------------


def tex(text):
    """Text with special characters and the symbols of our tables written for LaTeX."""
    return "".join(TEX.get(character, character) for character in text)


def _cell_tex(head, cell):
    text = tex(cell.text or "–")
    if cell.emphasis:
        text = rf"\emph{{{text}}}"
    if cell.bold and cell.text:
        text = rf"\textbf{{{text}}}"
    if cell.gain:
        text += rf" {{\scriptsize {tex(cell.gain)}}}"
    if not head.paper:
        return text
    paper = rf"\textcolor{{gray}}{{\textit{{{tex(cell.paper)}}}}}" if cell.paper else ""
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

    def prose(*sentences):
        return tex(_sentences(sentences, paper="In grey italics", emphasis="emphasised"))

    first, *others = sheet.grids
    notes = [sentence for paragraph in sheet.notes for sentence in paragraph]
    if any(head.width for head in first.head):
        text = [
            "% needs the packages booktabs and longtable",
            r"{\footnotesize\raggedright",
            *_grid_tex(first, "longtable", r"\midrule\endhead"),
            prose(first.above, *notes),
            "}",
        ]
        return "\n".join([*text, ""])
    text = [
        "% needs the packages booktabs, graphicx and xcolor",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{prose(sheet.title + sheet.source + '.', *notes)}}}",
        rf"\label{{tab:{sheet.name}}}",
        *_scaled_tex(first),
    ]
    for grid in others:
        text += ["", r"\medskip", prose(grid.above), "", r"\smallskip", *_scaled_tex(grid)]
    return "\n".join([*text, r"\end{table}", ""])


def _scaled_tex(grid):
    """The lines of a tabular that is scaled down if it is wider than the line."""
    lines = _grid_tex(grid, "tabular", r"\midrule")
    scale = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    return [scale, *lines[:-1], lines[-1] + "}"]


# ---- HTML ----------------------------------------------------------------------------------------


def to_html(sheet):
    """An HTML page for Snakemake's report, made from the Markdown."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark").enable("table").render(to_markdown(sheet))
    head = f'<meta charset="utf-8"><title>{sheet.title}</title><style>{STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{body}</body></html>\n"


FORMATS = {"md": to_markdown, "tex": to_latex, "html": to_html}


def formats(sheet):
    """{ending: text} of a sheet in every format."""
    return {ending: write(sheet) for ending, write in FORMATS.items()}
