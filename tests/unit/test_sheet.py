"""A sheet in each format: what is escaped, and how each mark looks.

Each text is compared with the one written by hand.
"""

from gear.report.sheet import EMPHASIS, PAPER, Cell, Grid, Head, Sheet, formats, to_markdown

NUMBERS = Grid(
    [Head("Setting", left=True), Head("IS* ↑", "IS"), Head("NTP")],
    [
        [Cell("a_b †", bold=True), Cell("1.0 ± 0.5", True, "", "(+0.5)", "2.0", "Δ −1.0"), Cell()],
        [Cell("λ = 0"), Cell(), Cell("3.0")],
        [Cell("quoted"), Cell(paper="4.0"), Cell()],
        [Cell("ours"), Cell("5.0"), Cell()],
    ],
)
MORE = Grid([Head("Difference", left=True), Head("IS*")], [[Cell("a − b"), Cell("+1")]], "p < 1:")
TABLE = Sheet("t", "100 %", " · Table 1", [NUMBERS, MORE], [[], [f"{PAPER}: the paper's."], ["*"]])
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

| Setting | IS\\* ↑ ‖ *IS* | NTP |
| --- | ---: | ---: |
| **a\\_b †** | **1.0 ± 0.5** (+0.5) ‖ *2.0* Δ −1.0 | – |
| λ = 0 | – | 3.0 |
| quoted | – ‖ *4.0* | – |
| ours | 5.0 ‖ – | – |

p < 1:

| Difference | IS\\* |
| --- | ---: |
| a − b | +1 |

Right of ‖, in italics: the paper's.

\\*
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
    assert r"\caption{100 \% $\cdot$ Table 1. In grey italics: the paper's. $^{*}$}" in text
    assert r"\begin{tabular}{lrlr}" in text and r"\begin{tabular}{lr}" in text
    assert r"Setting & \multicolumn{2}{c}{IS$^{*}$ $\uparrow$} & NTP \\" in text
    ours = r"\textbf{1.0 $\pm$ 0.5} {\scriptsize (+0.5)}"
    paper = r"\textcolor{gray}{\textit{2.0}} {\scriptsize $\Delta$ $-$1.0}"
    assert rf"\textbf{{a\_b $^\dagger$}} & {ours} & {paper} & -- \\" in text
    assert r"$\lambda$ = 0 & -- &  & 3.0 \\" in text
    assert "\\medskip\np $<$ 1:\n\n\\smallskip\n" in text
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
    assert "<title>100 %</title>" in page and "<td><strong>a_b †</strong></td>" in page
    assert page.count("<tr>") == 5 + 2


def test_a_caption_shows_its_picture():
    text = to_markdown(Sheet("f", "A * B", " · after Figure 1", notes=[["Said."]], picture="f.svg"))
    assert text == "## A \\* B · after Figure 1\n\n![A \\* B](f.svg)\n\nSaid.\n"
