"""One table from the metrics of its runs: a tidy CSV for programs, a Sheet for people."""

from gear.report import caption
from gear.report.files import csv_text
from gear.report.sheet import Cell, Grid, Head, Sheet, formats
from gear.report.tables.numbers import numbers, protocol_of
from gear.study.vocabulary import ARROWS, METRICS, digits, number

COLUMNS = (
    "table,row,run,step,steps,seed_n,sampler,protocol,metric,ours,ours_sd,paper,delta_paper,"
    "gain,source"
).split(",")


def forms(results, spec):
    """{ending: text} of a table: csv, md, tex and html."""
    rows, comparisons = numbers(results, spec)
    return {
        "csv": csv_text(COLUMNS, csv_lines(spec, rows, comparisons)),
        **formats(sheet(spec, rows, comparisons)),
    }


# ---- for people ----------------------------------------------------------------------------------


def sheet(spec, rows, comparisons, spread=lambda column: None):
    """The table as a Sheet: a Grid for each part with its differences, quoted rows, notes.

    spread(column): the sentence on how far seeds move a difference there; None: not known."""
    paper = f" · Table {spec['paper_table']} of the paper" if spec["paper_table"] else ""
    trained = [row for row in rows if "run" in row.spec]
    quoted = [row for row in rows if "run" not in row.spec]
    compared = groups(trained)
    constant = _constant(spec, trained)
    blocks = _blocks(spec, constant)
    grids = []
    for block in blocks:
        grids.append(_grid(spec, trained, compared, *block, first=not grids))
        grids += [_differences(spec, comparisons, block[1])] if comparisons else []
    folded = [_quoted(spec, quoted, *block) for block in blocks if quoted]
    grids += [grid for grid in folded if grid.lines]
    left_out = [(caption.column_head(spec["columns"][p]), text) for p, text in constant.items()]
    notes, details = caption.table(spec, left_out, rows)
    notes = [caption.collapsed(rows), notes]
    cells = [cell for grid in grids for line in grid.lines for cell in line]
    marked = any(cell.bold or cell.paper_bold for cell in cells)
    reading = caption.reading(spec, compared, marked, spread)
    return Sheet(spec["name"], spec["title"], paper, reading, grids, notes, details)


def groups(rows):
    """The rows that are compared with each other, as lists: those that baselines connect.

    All rows are one group in a table without baselines."""
    if not any(row.spec.get("baseline") for row in rows):
        return [rows]
    group_of = {row.spec["row"]: [row] for row in rows}
    for row in rows:
        if row.spec.get("baseline"):
            first, second = group_of[row.spec["baseline"]], group_of[row.spec["row"]]
            if first is not second:
                first += second
                group_of |= {each.spec["row"]: first for each in second}
    return list({id(group): group for group in group_of.values()}.values())


def best(values, better):
    """The keys of the best of {key: number or None}; none where most are the best, or one is alone.

    Where most of three or more share the top, such as a usage of 1, marks would say nothing."""
    known = {key: value for key, value in values.items() if value is not None}
    if not better or len(set(known.values())) < 2:
        return set()
    top = max(known.values(), key=lambda value: value * better)
    keys = {key for key, value in known.items() if value == top}
    return keys if 2 * len(keys) <= len(known) else set()


def _bold(compared, position, metric):
    """(names of the rows that are best in a column, the same of the paper's values)."""
    entry, ours, papers = METRICS[metric], set(), set()
    for group in compared:
        cells = {row.spec["row"]: row.measured[position] for row in group}
        means = {
            n: None if c.mean is None else round(c.mean, entry.decimals) for n, c in cells.items()
        }
        ours |= best(means, entry.better)
        printed = {n: None if c.paper is None else float(c.paper) for n, c in cells.items()}
        papers |= best(printed, entry.better)
    return ours, papers


def _constant(spec, rows):
    """{position: text} of the columns in which all rows have one value and the paper has none."""
    found = {}
    for position, column in enumerate(spec["columns"]):
        texts = {_text(row.measured[position], column["metric"]) for row in rows}
        if len(rows) > 1 and len(texts) == 1 and not caption.paper_head(spec, position):
            found[position] = texts.pop()
    return found if len(found) < len(spec["columns"]) else {}


def _blocks(spec, constant):
    """[(sentence above, positions of columns)]: one for each sampler or place, or one for all."""
    part = {p: caption.part(c) for p, c in enumerate(spec["columns"]) if p not in constant}
    names = list(dict.fromkeys(filter(None, part.values())))
    if len(names) < 2:
        return [("", list(part))]
    blocks = []
    for name in names:
        own = (name,) if blocks else (name, "")
        positions = [p for p in part if part[p] in own]
        blocks.append((caption.part_head(spec, name), positions))
    return blocks


def _grid(spec, rows, compared, above, positions, first):
    """A Grid with a line per trained row: name, in the first Grid step and parameters, metrics."""
    stops = len({row.spec["step"] for row in rows}) > 1 and first
    parameters = spec["parameters"] and first
    head = [Head("Setting", left=True)]
    head += [Head("Steps")] if stops else []
    head += [Head("Params (M)", "Params")] if parameters else []
    bold = {}
    for position in positions:
        column = spec["columns"][position]
        head.append(Head(caption.column_head(column), caption.paper_head(spec, position)))
        bold[position] = _bold(compared, position, column["metric"])
    lines = []
    for row in rows:
        line = [Cell(_name(row))]
        line += [Cell(f"{row.spec['step']} = {row.spec['steps']}")] if stops else []
        line += [_cell(row.parameters, "params_m")] if parameters else []
        for position in positions:
            marks = [row.spec["row"] in names for names in bold[position]]
            gain = not spec["comparisons"]
            metric = spec["columns"][position]["metric"]
            line.append(_cell(row.measured[position], metric, *marks, gain))
        lines.append(line)
    return Grid(head, lines, above)


def _name(row):
    """The row's name with its marks."""
    return (
        row.spec["row"]
        + (" †" if row.collapsed else "")
        + (" (default)" if row.spec.get("default") else "")
    )


def _text(measured, metric):
    """Our value in words, such as '0.80 ± 0.10'."""
    decimals, text = METRICS[metric].decimals, ""
    if measured.diverged:
        count = f" ({measured.diverged} of {measured.n})" if measured.n > 1 else ""
        text = f"diverged{count}"
    elif measured.mean is not None:
        text = number(measured.mean, decimals)
    return text if measured.sd is None else f"{text} ± {number(measured.sd, decimals)}"


def _cell(measured, metric, bold=False, paper_bold=False, gain=False):
    gained = gain and measured.gain is not None
    delta = measured.delta
    return Cell(
        _text(measured, metric),
        bold,
        gain=f"({_signed(measured.gain, metric)})" if gained else "",
        paper=measured.paper or "",
        paper_bold=paper_bold,
        delta="" if delta is None else f"Δ {_signed(delta, metric)}",
    )


def _signed(difference, metric):
    return number(difference, digits(difference, METRICS[metric].decimals), signed=True)


def _quoted(spec, rows, above, positions):
    """A folded Grid of the rows that the paper quotes: its values alone."""
    shown = [p for p in positions if any(str(p) in row.spec["paper"] for row in rows)]
    head = [Head("Quoted", left=True)]
    for p in shown:
        better = METRICS[spec["columns"][p]["metric"]].better
        head.append(Head(caption.paper_head(spec, p) + ARROWS[better]))
    printed = {row.spec["row"]: [row.measured[p].paper or "" for p in shown] for row in rows}
    lines = [[Cell(name), *map(Cell, texts)] for name, texts in printed.items() if any(texts)]
    sampler = f" ({above.rstrip(':')})" if above else ""
    drawn = {row["row"] for row in spec["rows"] if row.get("not_scored")}
    trained = "were not trained here" if len(lines) > 1 else "was not trained here"
    why = "this study does not score" if drawn & {*printed} else trained
    count = f"{len(lines)} row{'s' if len(lines) > 1 else ''}"
    words = f"{count} of the paper's that {why}{sampler}"
    return Grid(head, lines, words, folded=True)


def _differences(spec, comparisons, positions):
    """A Grid with a line per pair of rows: mean ± sd, and below it on how many seeds."""
    columns = [spec["columns"][p] for p in positions]
    lines = [
        [Cell(name), *(_difference(compared[p], spec["columns"][p]["metric"]) for p in positions)]
        for name, compared in comparisons.items()
    ]
    head = [Head("Difference", left=True), *(Head(caption.column_head(c)) for c in columns)]
    return Grid(head, lines, caption.comparisons(comparisons))


def _difference(compared, metric):
    """A paired difference, such as '−0.52 ± 0.13', and 'better on 3 of 3' below it."""
    better = METRICS[metric].better
    if not compared.whole:
        return Cell("diverged" if compared.n else "")
    decimals = digits(compared.mean, METRICS[metric].decimals)
    text = number(compared.mean, decimals, signed=True)
    text += "" if compared.sd is None else f" ± {number(compared.sd, decimals)}"
    if not any(compared.values.values()):
        return Cell(text, below="equal")
    way = better or (1 if compared.mean > 0 else -1)
    word = "better" if better else "higher" if way > 0 else "lower"
    count = sum(value * way > 0 for value in compared.values.values())
    below = f"{word} on {count} of {compared.n}"
    below += f" (p {compared.p:.2g})" if compared.n >= caption.DECIDING else ""
    return Cell(text, below=below)


# ---- for programs --------------------------------------------------------------------------------


def csv_lines(spec, rows, comparisons):
    """The lines of the tidy CSV, in the order of the table's rows and columns."""
    lines = []
    for row in rows:
        if row.parameters:
            column = {"metric": "params_m", "sampler": "", "protocol": ""}
            lines.append(_line(spec, row.spec, column, row.parameters))
        for column, measured in zip(spec["columns"], row.measured, strict=True):
            lines.append(_line(spec, row.spec, column, measured))
    for name, compared in comparisons.items():
        for column, pairs in zip(spec["columns"], compared, strict=True):
            head = {"table": spec["name"], "row": name, "seed_n": pairs.n, "source": "trained"}
            head |= {"sampler": column["sampler"] or "", "protocol": column["protocol"]}
            mean = pairs.mean if pairs.whole or not pairs.n else "diverged"
            lines.append(head | {"metric": column["metric"], "ours": mean, "ours_sd": pairs.sd})
            lines.append(head | {"metric": column["metric"] + "_sign_p", "ours": pairs.p})
    return [line for line in lines if line]


def _line(spec, row, column, measured):
    """One line of the CSV, or None for a cell without our value and the paper's."""
    if not measured.n and measured.paper is None:
        return None
    sampler = column["sampler"]
    return {
        "table": spec["name"],
        "row": row["row"],
        "run": row.get("run", ""),
        "step": row.get("step", ""),
        "steps": row.get("steps", ""),
        "seed_n": measured.n or "",
        "sampler": row.get("sampler", "") if sampler is None else sampler,
        "protocol": protocol_of(row, column),
        "metric": column["metric"],
        "ours": "diverged" if measured.diverged else measured.mean,
        "ours_sd": measured.sd,
        "paper": None if measured.paper is None else float(measured.paper),
        "delta_paper": measured.delta,
        "gain": measured.gain,
        "source": row["source"],
    }
