"""A Sheet as HTML, and the page around it: one file, without scripts and without other files."""

from html import escape

from gear.report.sheet import BEST, DETAILS, EMPHASIS, GAIN, PAPER, sentences

LOOKS = {
    PAPER: "Small, below ours",
    EMPHASIS: "in italics",
    BEST: "Coloured",
    GAIN: "Shown where the pointer rests on a number",
}
# Colours are variables, so that light and dark differ in one place. A wide table scrolls in a box,
# and so does a chart whose letters would be too small on a narrow screen.
STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--soft:#626a73;--line:#dfe3e8;--ground:#fff;
--card:#f6f7f9;--link:#0b5cad;--yes:#0a7d4b;--no:#b3411a;--open:#6b6f76;--best:#e3f1e9}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa3ad;--line:#343a41;
--ground:#16191c;--card:#1f2327;--link:#7db8f0;--yes:#4cc38a;--no:#f0875a;--open:#a0a6ad;
--best:#1e3a2c}img.chart{filter:invert(.91) hue-rotate(180deg)}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);overflow-wrap:break-word;
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
a{color:var(--link)}h1{font-size:1.7rem;line-height:1.2;margin:.2em 0}
h2{font-size:1.35rem;margin:2.6em 0 .6em;border-bottom:1px solid var(--line)}
h3{font-size:1.1rem;margin:2.2em 0 .2em}main,nav{padding:1rem;min-width:0}
.soft,figcaption,summary,.files{color:var(--soft)}.reading{margin:.1em 0 .8em}
.wide{overflow-x:auto;margin:.6em 0}summary{cursor:pointer}details{margin:.5em 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.3em .65em;border-bottom:1px solid var(--line);text-align:right;
vertical-align:top;white-space:nowrap}thead th{vertical-align:bottom;font-weight:600;
white-space:normal;overflow-wrap:normal}
tbody th:first-child{white-space:normal;min-width:7.5em;max-width:15em}
.more{display:flex;flex-wrap:wrap;gap:0 1.3rem;align-items:baseline}.more p{margin:.3em 0}
.more>details[open]{flex-basis:100%;min-width:0}
.left{text-align:left}tbody th{font-weight:500;position:sticky;left:0;background:var(--ground)}
td.words,th.words{white-space:normal;text-align:left;min-width:9em}
td.best{background:var(--best)}td small,th small{display:block;color:var(--soft);font-weight:400}
td small b{color:var(--ink)}td i,em{font-style:normal;color:var(--soft)}em{font-style:italic}
img{max-width:100%;height:auto;display:block}img.chart{min-width:35rem}
img.pixels{background:#fff;padding:.5rem;border-radius:6px}.files{font-size:.85rem}
section{scroll-margin-top:1rem}.verdicts{display:flex;flex-wrap:wrap;gap:.6rem;padding:0}
.verdicts li{list-style:none;background:var(--card);border-radius:8px;padding:.5rem 1rem}
.verdicts b{display:block;font-size:1.6rem;line-height:1.2}
ul.claims summary{color:inherit}ul.claims details,ul.claims p{margin:.1em 0}
ul.claims{padding:0;margin:.6em 0}ul.claims>li{list-style:none;margin:.35em 0;padding:.4em .8em;
background:var(--card);border-left:4px solid var(--open);border-radius:4px}
.yes b{color:var(--yes)}.no b{color:var(--no)}.open b{color:var(--open)}
ul.claims>li.yes{border-color:var(--yes)}ul.claims>li.no{border-color:var(--no)}
nav ol,nav ul{padding-left:1.1em;margin:.2em 0}nav li{margin:.15em 0}nav{font-size:.9rem}
@media(min-width:1100px){body{display:grid;grid-template-columns:17rem minmax(0,62rem);gap:2rem}
nav{position:sticky;top:0;height:100vh;overflow-y:auto;border-right:1px solid var(--line)}
nav details::details-content{content-visibility:visible;display:block}nav summary{list-style:none}}
@media print{nav{display:none}}
"""


def document(title, body, nav=""):
    """A whole page; body and nav are HTML."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{STYLE}</style>'
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n'
        f"{nav}<main>\n{body}\n</main></body></html>\n"
    )


def prose(*texts):
    return escape(sentences(texts, LOOKS), quote=False)


def folded(summary, inner):
    """A block that opens on a click; summary is text, inner is HTML."""
    return f"<details><summary>{escape(summary, quote=False)}</summary>{inner}</details>"


def link(target, text):
    return f'<a href="{escape(target)}">{escape(text, quote=False)}</a>'


def _shape(head):
    return "words" if head.width else "left" if head.left else ""


def _class(*names):
    names = " ".join(filter(None, names))
    return f' class="{names}"' if names else ""


def _cell(head, cell, first):
    """One number a cell: ours; its spread is muted, the paper's value small below it."""
    mean, mark, spread = escape(cell.text or ("" if cell.paper else "–")).partition(" ± ")
    text = mean + (f" <i>± {spread}</i>" if mark else "")
    text = f'<a href="{escape(cell.link)}">{text}</a>' if cell.link else text
    text = f"<em>{text}</em>" if cell.emphasis else text
    text = f"<b>{text}</b>" if cell.bold and cell.text else text
    text += f"<small>{escape(cell.below)}</small>" if cell.below else ""
    if head.paper and cell.paper:
        paper = f"<b>{escape(cell.paper)}</b>" if cell.paper_bold else escape(cell.paper)
        text += f"<small>{paper} {escape(cell.delta)}</small>"
    if first:
        return f'<th scope="row"{_class(_shape(head) or "left")}>{text}</th>'
    best = "best" if cell.bold and not head.width else ""
    title = f' title="difference from its baseline: {escape(cell.gain)}"' if cell.gain else ""
    return f"<td{_class(_shape(head), best)}{title}>{text}</td>"


def _whole(text):
    """A head whose arrow is not torn from it."""
    return text.replace(" ↓", "\u00a0↓").replace(" ↑", "\u00a0↑")


def table(grid):
    """A grid as a table in a box that scrolls."""
    heads = "".join(
        f"<th{_class(_shape(head))}>{escape(_whole(head.text))}"
        + (f"<small>{escape(head.paper)}</small>" if head.other_name else "")
        + "</th>"
        for head in grid.head
    )
    lines = "\n".join(
        "<tr>"
        + "".join(
            _cell(*pair, number == 0)
            for number, pair in enumerate(zip(grid.head, line, strict=True))
        )
        + "</tr>"
        for line in grid.lines
    )
    return (
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>\n{lines}\n'
        "</tbody></table></div>"
    )


def content(sheet, more=""):
    """The body of a sheet: reading aid, grids, and a line of all that is folded away.

    more: HTML at the end of that line."""
    parts = [f'<p class="reading">{prose(sheet.reading)}</p>'] if sheet.reading else []
    for grid in sheet.grids:
        if not grid.folded:
            parts += [f"<p>{prose(grid.above)}</p>"] if grid.above else []
            parts.append(table(grid))
    notes = "".join(f"<p>{prose(*paragraph)}</p>" for paragraph in sheet.notes if paragraph)
    line = [folded("Notes", notes)] if notes else []
    line += [folded(grid.above, table(grid)) for grid in sheet.grids if grid.folded]
    line += [folded(DETAILS, f"<p>{prose(*sheet.details)}</p>")] if sheet.details else []
    return "\n".join((*parts, beside(*line, more)))


def beside(*blocks):
    """Folded blocks and links in one line; a block that is opened takes a line of its own."""
    return f'<div class="more">{"".join(blocks)}</div>'


def to_html(sheet):
    """The sheet as a page of its own."""
    head = f"<h1>{escape(sheet.title)}</h1><p class='soft'>{escape(sheet.source.strip(' ·'))}</p>"
    return document(sheet.title, head + content(sheet))
