"""The page `claims` as people read it, in Markdown and in LaTeX."""

from gear.report import caption
from gear.report.tables.markup import md, tex
from gear.study.vocabulary import METRICS, number, shown

TITLE = "What reproduces and what does not"
HEAD = ("Claim", "Source", "Criterion", "Seen", "Paper", "Verdict")
WORDS = {"lower": "<", "higher": ">", "below": "<", "above": ">"}
WIDTHS = (0.2, 0.1, 0.2, 0.27, 0.09, 0.12)  # of the columns in LaTeX, in parts of the line


def _rows(part):
    """'GEAR-L < LlamaGen-REPA-L'."""
    if part.kind == "sooner":
        return f"speed-up of {part.row} > 1"
    than = part.than if isinstance(part.than, str) else f"{part.than:g}"
    return f"{part.row} {WORDS[part.kind]} {than}"


def criterion(judged, samplers):
    """The criterion of a claim: 'gFD: GEAR-L < LlamaGen-REPA-L', one sentence for each column."""
    said = {}
    for part in judged.parts:
        column = part.column
        head = shown(column["metric"], column["protocol"])
        if column["sampler"] and samplers[column["sampler"]].get("guidance", 1.0) != 1:
            head += f" ({caption.sampler_words(column['sampler'], samplers[column['sampler']])})"
        said.setdefault(head, []).append(_rows(part))
    return ". ".join(f"{head}: {', '.join(parts)}" for head, parts in said.items())


def seen(part):
    """What was measured, in words: '−0.10 ± 0.11, on 2 of 3 seeds'."""
    decimals = METRICS[part.column["metric"]].decimals
    if part.diverged:
        return "diverged"
    if part.kind == "sooner":
        return "not reached" if part.difference is None else f"{part.difference:.2g}×"
    if part.kind in ("below", "above"):
        return number(part.value, decimals) + (f", {part.holding} of {part.n} seeds" * (part.n > 1))
    text = number(part.difference, decimals, signed=True)
    if part.n > 1:
        text += f" ± {number(part.sd, decimals)}, {part.holding} of {part.n} seeds"
    elif part.margin is not None:
        text += f" (margin {number(part.margin, decimals)})"
    return text


def _labels(parts):
    """What tells the parts of a claim apart: their rows, the rows compared with, or the metrics."""
    metrics = [shown(part.column["metric"], part.column["protocol"]) for part in parts]
    for labels in ([p.row for p in parts], [f"against {p.than}" for p in parts], metrics):
        if len(set(labels)) == len(parts):
            return labels
    return [_rows(part) for part in parts]


def _cells(judged, samplers):
    """The six texts of a claim's line."""
    found = [seen(part) for part in judged.parts]
    if len(found) > 1:
        found = [": ".join(pair) for pair in zip(_labels(judged.parts), found, strict=True)]
    paper = [
        number(part.paper, METRICS[part.column["metric"]].decimals, signed=True)
        for part in judged.parts
        if part.paper is not None
    ]
    claim = judged.claim
    return (
        claim["claim"],
        claim["source"],
        criterion(judged, samplers) + f" ({claim.get('table') or claim['figure']})",
        "; ".join(found),
        ", ".join(paper) or "–",
        judged.verdict,
    )


def _summary(judged):
    said = []
    for whose, ours in (("the paper's {} claims", False), ("our own {} questions", True)):
        of = [j.holds for j in judged if j.claim["ours"] is ours]
        counts = [of.count(holds) for holds in (True, False, None)]
        words = ("reproduced", "not", "not decidable")
        verdicts = [
            f"{n} {'is' if n == 1 else 'are'} {word}" for n, word in zip(counts, words, strict=True)
        ]
        said.append(f"of {whose.format(len(of))} {', '.join(verdicts)}")
    return f"{'; '.join(said)}.".capitalize()


def _words(spec):
    """How to read the page, and what it was made with."""
    spread = spec["spread"]
    reading = [
        "In round brackets after a criterion: the table or figure of this study on which it is "
        "judged. A criterion holds only if it holds on every seed that both rows have; Seen: mean "
        "± sample sd of the differences paired by seed, and on how many it holds.",
        "n: the smallest number of trainings behind a row. Where that is 1, a difference decides "
        f"only beyond its margin, {spread['sds']:g} times the largest sd of a paired difference "
        f"that table {spread['table']} measured in that metric, relative to the row compared with; "
        "without a measured sd it decides nothing. A limit needs no margin, and holds for the one "
        "training that was seen.",
        "Speed-up: see the figure convergence; with n = 1 it decides only if it would with a "
        "baseline that ends a margin better, or worse.",
        "“Reproduced” says that this study, at its scale and with its stand-ins, shows what the "
        "paper shows; “not reproduced” that it shows the contrary or nothing, which is no proof "
        "against the paper.",
        "Paper: the differences that the paper prints, in its protocol and on ImageNet.",
    ]
    if spec["left_out"]:
        reading.append(f"Claims on tables that this study does not make: {spec['left_out']}.")
    metrics = [test["column"]["metric"] for claim in spec["claims"] for test in claim["tests"]]
    points = [
        (c["stage"], p["step"], p["steps"]) for c in spec["curves"] for p in c["points"]
    ]
    made = caption.study(spec)
    made += caption.steps([(r["stage"], r["step"], r["steps"]) for r in spec["rows"]] + points)
    made += caption.samplers(spec) + caption.protocols(spec, list(dict.fromkeys(metrics)))
    return reading, made + caption.teachers(spec)


def markdown(spec, judged):
    lines = [
        [f"*{md(claim)}*" if j.claim["ours"] else md(claim), *map(md, middle), f"**{verdict}**"]
        for j in judged
        for claim, *middle, verdict in [_cells(j, spec["samplers"])]
    ]
    table = ["| " + " | ".join(line) + " |" for line in (HEAD, ["---"] * len(HEAD), *lines)]
    reading, made = _words(spec)
    text = [f"## {TITLE}", "", _summary(judged) + " Our own are in italics.", "", *table, ""]
    return "\n".join([*text, md(" ".join(reading)), "", md(" ".join(made)), ""])


def latex(spec, judged):
    """For \\input in a document with the packages booktabs and longtable."""
    shape = "".join(rf"p{{{width}\linewidth}}" for width in WIDTHS)
    lines = []
    for j in judged:
        claim, *middle, verdict = map(tex, _cells(j, spec["samplers"]))
        claim = rf"\emph{{{claim}}}" if j.claim["ours"] else claim
        lines.append(" & ".join([claim, *middle, rf"\textbf{{{verdict}}}"]) + r" \\")
    reading, made = _words(spec)
    return "\n".join(
        [
            "% needs the packages booktabs and longtable",
            r"{\footnotesize\raggedright",
            rf"\begin{{longtable}}{{{shape}}}",
            r"\toprule",
            " & ".join(HEAD) + r" \\",
            r"\midrule\endhead",
            *lines,
            r"\bottomrule",
            r"\end{longtable}",
            tex(" ".join([_summary(judged), "Our own are emphasised.", *reading, *made])),
            "}",
            "",
        ]
    )
