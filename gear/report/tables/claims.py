"""The page of claims: each claim with its criterion, the measured values and a verdict."""

from gear.report import caption
from gear.report.files import csv_text
from gear.report.sheet import EMPHASIS, Cell, Grid, Head, Sheet, formats
from gear.report.tables.judge import Judge
from gear.study.vocabulary import METRICS, digits, number, shown

HEAD = ("Claim", "Source", "Criterion", "Seen", "Paper", "Verdict")
WIDTHS = (0.2, 0.1, 0.2, 0.27, 0.09, 0.12)  # shares of the line
WORDS = {
    "lower": "<",
    "higher": ">",
    "not_higher": "≤",
    "not_lower": "≥",
    "below": "<",
    "above": ">",
}
COLUMNS = (
    "claim,verdict,source,table,metric,sampler,protocol,criterion,row,than,seed_n,value,than_value,"
    "difference,difference_sd,holding,margin,paper_difference,holds"
).split(",")


def forms(results, spec):
    """{ending: text} of the page: csv, md, tex and html."""
    judge = Judge(results, spec)
    judged = [judge.judge(claim) for claim in spec["claims"]]
    return {
        "csv": csv_text(COLUMNS, csv_lines(judged)),
        **formats(sheet(spec, judged)),
    }


def csv_lines(judged):
    """Yield a line for each part of each claim: its fields, some under other names."""
    for one in judged:
        for part in one.parts:
            cells = vars(part) | part.column
            cells |= {"claim": one.claim["claim"], "verdict": one.verdict, "table": one.where}
            cells |= {"source": one.claim["source"], "criterion": part.kind, "seed_n": part.n}
            cells |= {"difference_sd": part.sd, "paper_difference": part.paper}
            cells["holds"] = {True: "yes", False: "no", None: ""}[part.holds]
            yield {column: cells[column] for column in COLUMNS}


def sheet(spec, judged):
    """The page as a Sheet with a line for each claim; our own claims are marked."""
    head = [Head(text, left=True, width=width) for text, width in zip(HEAD, WIDTHS, strict=True)]
    lines = [_line(one, spec["samplers"]) for one in judged]
    above = f"{_summary(judged)} Our own are {EMPHASIS}."
    notes, details = [_reading(spec)], _origin(spec)
    return Sheet(
        spec["name"], spec["title"], grids=[Grid(head, lines, above)], notes=notes, details=details
    )


def _rows(part):
    """A comparison in words, such as 'GEAR-L < LlamaGen-REPA-L'."""
    if part.kind == "sooner":
        return f"speed-up of {part.row} > 1"
    than = part.than if isinstance(part.than, str) else f"{part.than:g}"
    return f"{part.row} {WORDS[part.kind]} {than}"


def criterion(judged, samplers):
    """The criterion of a claim: 'gFD: GEAR-L < LlamaGen-REPA-L', one sentence for each column."""
    rows = {}
    for part in judged.parts:
        column = part.column
        head = shown(column["metric"], column["protocol"])
        if column["sampler"] and samplers[column["sampler"]].get("guidance", 1.0) != 1:
            head += f" ({caption.sampler_words(samplers[column['sampler']])})"
        rows.setdefault(head, []).append(_rows(part))
    return ". ".join(f"{head}: {', '.join(names)}" for head, names in rows.items())


def values(part):
    """The measured values in words, such as '−0.10 ± 0.11, 2 of 3 seeds'."""
    decimals = METRICS[part.column["metric"]].decimals
    if part.diverged:
        return "diverged"
    if part.kind == "sooner":
        seen = "not reached" if part.difference is None else f"{part.difference:.2g}×"
        several = part.n > 1 and "window" in part.column
        return seen + (f", {part.holding} of {part.n} seeds" if several else "")
    if part.kind in ("below", "above"):
        seeds = f", {part.holding} of {part.n} seeds" if part.n > 1 else ""
        return number(part.value, decimals) + seeds
    decimals = digits(part.difference, decimals)
    text = number(part.difference, decimals, signed=True)
    if part.n > 1:
        text += f" ± {number(part.sd, decimals)}, {part.holding} of {part.n} seeds"
    elif part.margin is not None:
        text += f" (margin {number(part.margin, decimals)})"
    return text


def _labels(parts):
    """Labels that distinguish a claim's parts: their rows, the other rows, or the metrics."""
    metrics = [shown(part.column["metric"], part.column["protocol"]) for part in parts]
    for labels in ([p.row for p in parts], [f"against {p.than}" for p in parts], metrics):
        if len(set(labels)) == len(parts):
            return labels
    return [_rows(part) for part in parts]


def _line(judged, samplers):
    """The six cells of a claim's line."""
    parts = [values(part) for part in judged.parts]
    if len(parts) > 1:
        parts = [": ".join(pair) for pair in zip(_labels(judged.parts), parts, strict=True)]
    paper = [_printed(part) for part in judged.parts if part.paper is not None]
    return [
        Cell(judged.claim["claim"], emphasis=judged.claim["ours"]),
        Cell(judged.claim["source"]),
        Cell(f"{criterion(judged, samplers)} ({judged.where})"),
        Cell("; ".join(parts)),
        Cell(", ".join(paper)),
        Cell(judged.verdict, bold=True),
    ]


def _printed(part):
    """The paper's difference or speed-up in words."""
    if part.kind == "sooner":
        return f"{part.paper:g}×"
    decimals = digits(part.paper, METRICS[part.column["metric"]].decimals)
    return number(part.paper, decimals, signed=True)


def _summary(judged):
    """The sentence on how many claims and own questions are reproduced."""
    counts = []
    for whose, ours in (("the paper's {} claims", False), ("our own {} questions", True)):
        verdicts = [one.holds for one in judged if one.claim["ours"] is ours]
        words = []
        for holds, word in ((True, "reproduced"), (False, "not"), (None, "not decidable")):
            n = verdicts.count(holds)
            words.append(f"{n} {'is' if n == 1 else 'are'} {word}")
        counts.append(f"of {whose.format(len(verdicts))} {', '.join(words)}")
    return f"{'; '.join(counts)}.".capitalize()


def _reading(spec):
    """The sentences on how to read the page."""
    spread = spec["spread"]
    figures = list(dict.fromkeys(c["figure"] for c in spec["claims"] if "figure" in c))
    reading = [
        "In round brackets after a criterion: the table or figure of this study on which it is "
        "judged. A criterion holds only if it holds on every seed that both rows have; Seen: mean "
        "± sample sd of the differences paired by seed, and on how many it holds.",
        "n: the smallest number of trainings behind a row. Where that is 1, a difference decides "
        f"only beyond its margin, {spread['sds']:g} times the largest sd of a paired difference "
        f"that table {spread['table']} measured in that metric, relative to the row compared with; "
        "without a measured sd it decides nothing. A limit needs no margin, and holds for the one "
        "training that was seen.",
        f"Speed-up: see the figure {(*figures, 'convergence')[0]}; with n = 1 it decides only if "
        "it would with a baseline that ends a margin better, or worse.",
        "“Reproduced” says that this study, at its scale and with its stand-ins, shows what the "
        "paper shows; “not reproduced” that it shows the contrary or nothing, which is no proof "
        "against the paper.",
        "Paper: the differences that the paper prints, in its protocol and on "
        f"{'GPIC' if 'text_encoder' in spec else 'ImageNet'}.",
    ]
    if spec["left_out"]:
        reading.append(f"Claims on tables that this study does not make: {spec['left_out']}.")
    return reading


def _origin(spec):
    """The sentences on what the page was made with."""
    metrics = [test["column"]["metric"] for claim in spec["claims"] for test in claim["tests"]]
    points = [p | {"stage": c["stage"]} for c in spec["curves"] for p in c.get("points", ())]
    return caption.origin(spec, metrics, spec["rows"] + points)
