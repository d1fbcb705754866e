"""Markdown and LaTeX of a table: one line per row, ours first, the paper's value set apart.

In Markdown a cell reads `ours ± sd (gain) ‖ *paper*`; in LaTeX the paper's value is grey italics.
"""

from gear.report import caption
from gear.study.vocabulary import METRICS, number

TEX = {
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}",
    "−": "$-$", "±": r"$\pm$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "×": r"$\times$",
    "†": r"$^\dagger$", "‖": r"$\Vert$", "τ": r"$\tau$", "λ": r"$\lambda$", "Δ": r"$\Delta$",
    "“": "``", "”": "''", "–": "--", "·": r"$\cdot$", "*": "$^{*}$",
    "<": "$<$", ">": "$>$",
}  # fmt: skip


def tex(text):
    """Text with what LaTeX reserves, and the symbols of our tables, written for LaTeX."""
    return "".join(TEX.get(character, character) for character in text)


def md(text):
    """Text with what a Markdown table reserves escaped."""
    return text.replace("|", r"\|").replace("*", r"\*").replace("_", r"\_")


def parts(cell, metric):
    """(ours, gain, paper, delta) as text, '' where there is none."""
    decimals = METRICS[metric].decimals
    if cell.diverged:
        many = f" ({cell.diverged} of {len(cell.values)})" if len(cell.values) > 1 else ""
        ours = "diverged" + many
    else:
        ours = "" if cell.mean is None else number(cell.mean, decimals)
    if cell.sd is not None:
        ours += f" ± {number(cell.sd, decimals)}"
    gain = "" if cell.gain is None else f"({number(cell.gain, decimals, signed=True)})"
    delta = "" if cell.delta is None else f"Δ {number(cell.delta, decimals, signed=True)}"
    return ours, gain, cell.paper or "", delta


def _cell_md(cell, metric, bold, paper):
    ours, gain, printed, delta = parts(cell, metric)
    ours = f"**{ours}**" if bold and ours else ours or "–"
    text = f"{ours} {gain}".strip()
    if paper and (cell.values or printed):
        text += f" ‖ *{printed}*" if printed else " ‖ –"
    return f"{text} {delta}".strip()


def _cell_tex(cell, metric, bold, paper):
    ours, gain, printed, delta = (tex(p) for p in parts(cell, metric))
    ours = rf"\textbf{{{ours}}}" if bold and ours else ours or "--"
    if gain:
        ours += rf" {{\scriptsize {gain}}}"
    if not paper:
        return ours
    printed = rf"\textcolor{{gray}}{{\textit{{{printed}}}}}" if printed else ""
    return f"{ours} & {printed}" + (rf" {{\scriptsize {delta}}}" if delta else "")


def _name(row):
    """The row's name with its marks; quoted rows say so."""
    mark = " †" if row.collapsed else ""
    return row.spec["row"] + mark + (" (quoted)" if row.spec["source"] == "quoted" else "")


def _step(spec, row):
    """'400k = 400' where the table's rows stop at several milestones, else None."""
    found = {(r["stage"], r["step"]) for r in spec["rows"] if "run" in r}
    if len({step for _, step in found}) < 2:
        return None
    return f"{row['step']} = {row['steps']}" if "run" in row else "–"


def heading(spec):
    """The table's title, and which table of the paper it is."""
    paper = f" · Table {spec['paper_table']} of the paper" if spec["paper_table"] else ""
    return spec["title"] + paper


def _lines_md(head, lines):
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return ["| " + " | ".join(line) + " |" for line in (head, rule, *lines)]


def markdown(spec, rows, comparisons):
    """The table as Markdown: title, table, paired differences where it has them, caption."""
    columns = spec["columns"]
    paper = [caption.paper_head(spec, i) for i in range(len(columns))]
    stepped = _step(spec, rows[-1].spec) is not None
    head = ["Setting"] + (["Steps"] if stepped else [])
    head += ["Params (M) ‖ *Params*"] if spec["parameters"] else []
    for column, has in zip(columns, paper, strict=True):
        head.append(md(caption.column_head(spec, column)) + (f" ‖ *{has}*" if has else ""))
    lines = []
    for row in rows:
        bold = row.spec.get("bold", False)
        line = [f"**{md(_name(row))}**" if bold else md(_name(row))]
        line += [_step(spec, row.spec)] if stepped else []
        line += [_cell_md(row.parameters, "params_m", False, True)] if spec["parameters"] else []
        for column, cell, has in zip(columns, row.cells, paper, strict=True):
            line.append(_cell_md(cell, column["metric"], bold, has))
        lines.append(line)
    text = [f"## {md(heading(spec))}", "", *_lines_md(head, lines), ""]
    if comparisons:
        text += [*_differences_md(spec, comparisons), ""]
    reading, made = caption.table(spec, "Right of ‖, in italics:")
    for sentences in (caption.collapsed(rows), reading, made):
        text += [md(" ".join(sentences)), ""] if sentences else []
    return "\n".join(text)


def difference(found, metric):
    """'−0.52 ± 0.13 (3/3, p 0.25)': mean ± sd (below zero / n, p of the sign test)."""
    decimals = METRICS[metric].decimals
    if not found.whole:
        return "diverged" if found.n else "–"
    text = number(found.mean, decimals, signed=True)
    text += "" if found.sd is None else f" ± {number(found.sd, decimals)}"
    return f"{text} ({found.lower}/{found.n}, p {found.p:.2g})"


def _differences_md(spec, comparisons):
    head = ["Difference"] + [md(caption.column_head(spec, c)) for c in spec["columns"]]
    lines = [
        [md(name)]
        + [difference(f, c["metric"]) for f, c in zip(found, spec["columns"], strict=True)]
        for name, found in comparisons.items()
    ]
    return [md(caption.comparisons(spec, comparisons)), "", *_lines_md(head, lines)]


def _tabular(head, lines, shape):
    body = [" & ".join(head) + r" \\", r"\midrule"] + [" & ".join(line) + r" \\" for line in lines]
    return [
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{shape}}}",
        r"\toprule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
    ]


def latex(spec, rows, comparisons):
    """The table as LaTeX, for \\input in a document with booktabs, graphicx and xcolor."""
    columns = spec["columns"]
    paper = [caption.paper_head(spec, i) for i in range(len(columns))]
    stepped = _step(spec, rows[-1].spec) is not None
    head, shape = ["Setting"], "l"
    if stepped:
        head, shape = [*head, "Steps"], shape + "r"
    if spec["parameters"]:
        head, shape = [*head, r"\multicolumn{2}{c}{Params (M)}"], shape + "rl"
    for column, has in zip(columns, paper, strict=True):
        name = tex(caption.column_head(spec, column))
        head.append(rf"\multicolumn{{2}}{{c}}{{{name}}}" if has else name)
        shape += "rl" if has else "r"
    lines = []
    for row in rows:
        bold, name = row.spec.get("bold", False), tex(_name(row))
        line = [rf"\textbf{{{name}}}" if bold else name]
        line += [tex(_step(spec, row.spec))] if stepped else []
        line += [_cell_tex(row.parameters, "params_m", False, True)] if spec["parameters"] else []
        for column, cell, has in zip(columns, row.cells, paper, strict=True):
            line.append(_cell_tex(cell, column["metric"], bold, has))
        lines.append(line)
    reading, made = caption.table(spec, "In grey italics:")
    said = [heading(spec) + ".", *caption.collapsed(rows), *reading, *made]
    text = [
        "% needs the packages booktabs, graphicx and xcolor",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(' '.join(said))}}}",
        rf"\label{{tab:{spec['name']}}}",
        *_tabular(head, lines, shape),
    ]
    if comparisons:
        text += [
            "",
            r"\medskip",
            tex(caption.comparisons(spec, comparisons)),
            "",
            r"\smallskip",
            *_differences_tex(spec, comparisons),
        ]
    return "\n".join([*text, r"\end{table}", ""])


def _differences_tex(spec, comparisons):
    head = ["Difference"] + [tex(caption.column_head(spec, c)) for c in spec["columns"]]
    lines = [
        [tex(name)]
        + [tex(difference(f, c["metric"])) for f, c in zip(found, spec["columns"], strict=True)]
        for name, found in comparisons.items()
    ]
    return _tabular(head, lines, "l" + "r" * len(spec["columns"]))


STYLE = (
    "body{font-family:sans-serif;margin:1.5em;max-width:75em}"
    "table{border-collapse:collapse;margin:1em 0}"
    "th,td{padding:.25em .8em;border-bottom:1px solid #ddd}"
)


def html(title, text):
    """A page of its own for the report, from our Markdown."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark").enable("table").render(text)
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{body}</body></html>\n"
