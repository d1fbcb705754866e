"""A sheet in each format: what is escaped, and how each mark looks.

Each text is compared with the one written by hand.
"""

import re

from gear.report.sheet import EMPHASIS, PAPER, Cell, Grid, Head, Sheet, formats, to_markdown

NUMBERS = Grid(
    [Head("Setting", left=True), Head("IS* ↑", "IS"), Head("NTP")],
    [
        [
            Cell("a_b †"),
            Cell("1.0 ± 0.5", True, gain="(+0.5)", paper="2.0", delta="Δ −1.0"),
            Cell(),
        ],
        [Cell("λ = 0"), Cell(), Cell("3.0", below="lower on 2 of 3")],
        [Cell("a"), Cell("5.0", paper="4.0", paper_bold=True), Cell()],
    ],
)
MORE = Grid([Head("Difference", left=True), Head("IS*")], [[Cell("a − b"), Cell("+1")]], "p < 1:")
QUOTED = Grid(
    [Head("Quoted", left=True), Head("IS")], [[Cell("c"), Cell("9")]], "1 row", folded=True
)
NOTES = [[], [f"{PAPER}: the paper's."], ["*"]]
TABLE = Sheet("t", "100 %", " · Table 1", "Read.", [NUMBERS, MORE, QUOTED], NOTES, ["Long_."])
WORDS = Grid(
    [Head("Claim", left=True, width=0.6), Head("Verdict", left=True, width=0.4)],
    [[Cell("a > b", emphasis=True), Cell("yes", bold=True)]],
    f"Ours are {EMPHASIS}.",
)
PAGE = Sheet("p", "Claims", grids=[WORDS], notes=[["One.", "Two."], ["Three."]])


def test_markdown():
    assert (
        to_markdown(TABLE)
        == """## 100 % · Table 1

Read.

| Setting | IS\\* ↑<br>*IS* | NTP |
| --- | ---: | ---: |
| a\\_b † | **1.0 ± 0.5** (+0.5)<br>*2.0* Δ −1.0 | – |
| λ = 0 | – | 3.0<br>lower on 2 of 3 |
| a | 5.0<br>***4.0*** | – |

p < 1:

| Difference | IS\\* |
| --- | ---: |
| a − b | +1 |

<details><summary>1 row</summary>

| Quoted | IS |
| --- | ---: |
| c | 9 |

</details>

Below ours, in italics: the paper's.

\\*

<details><summary>Protocol, steps and stand-ins</summary>

Long\\_.

</details>
"""
    )
    assert (
        to_markdown(PAGE)
        == """## Claims

Ours are in italics.

| Claim | Verdict |
| --- | --- |
| *a > b* | **yes** |

One. Two.

Three.
"""
    )


def test_latex():
    text = formats(TABLE)["tex"]
    assert r"\caption{100 \% $\cdot$ Table 1. Read. In grey italics: the paper's. $^{*}$}" in text
    assert r"\begin{tabular}{lrlr}" in text and r"\begin{tabular}{lr}" in text
    assert r"Setting & \multicolumn{2}{c}{IS$^{*}$ $\uparrow$} & NTP \\" in text
    ours = r"\textbf{1.0 $\pm$ 0.5} {\scriptsize (+0.5)}"
    paper = r"\textcolor{gray}{\textit{2.0}} {\scriptsize $\Delta$ $-$1.0}"
    assert rf"a\_b $^\dagger$ & {ours} & {paper} & -- \\" in text
    assert r"$\lambda$ = 0 & -- &  & 3.0 {\scriptsize lower on 2 of 3} \\" in text
    assert r"a & 5.0 & \textcolor{gray}{\textbf{\textit{4.0}}} & -- \\" in text
    assert "\\medskip\np $<$ 1:\n\n\\smallskip\n" in text
    assert r"{\footnotesize Long\_.\par}" in text
    page = formats(PAGE)["tex"]
    assert r"\begin{longtable}{p{0.6\linewidth}p{0.4\linewidth}}" in page
    assert r"\emph{a $>$ b} & \textbf{yes} \\" in page
    assert "Ours are emphasised. One. Two. Three.\n}\n" in page
    for sheet in (text, page):
        assert sheet.count("\\begin{") == sheet.count("\\end{")
        bare = sheet.replace("\\{", "").replace("\\}", "")
        assert bare.count("{") == bare.count("}")


def test_html_is_a_page_of_the_same_cells():
    page = formats(TABLE)["html"]
    assert "<title>100 %</title>" in page and '<th scope="row" class="left">a_b †</th>' in page
    best = '<td class="best" title="difference from its baseline: (+0.5)"><b>1.0 <i>± 0.5</i></b>'
    assert f"{best}<small>2.0 Δ −1.0</small></td>" in page
    assert "<td>5.0<small><b>4.0</b> </small></td>" in page
    assert "<td>3.0<small>lower on 2 of 3</small></td>" in page
    assert page.count("<tr>") == 4 + 2 + 2 and "‖" not in page
    assert re.search("<details><summary>1 row</summary>.*<td>9</td>.*</details>", page, re.DOTALL)
    assert "a &lt; b" in formats(Sheet("x", "a < b", grids=[NUMBERS]))["html"]


def test_a_caption_shows_its_picture():
    text = to_markdown(Sheet("f", "A * B", " · after Figure 1", notes=[["Said."]], picture="f.svg"))
    assert text == "## A \\* B · after Figure 1\n\n![A \\* B](f.svg)\n\nSaid.\n"
