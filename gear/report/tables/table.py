"""One table from the metrics of its runs: a tidy CSV for programs, a Sheet for people."""

from gear.report import caption
from gear.report.files import csv_text
from gear.report.sheet import Cell, Grid, Head, Sheet, formats
from gear.report.tables.numbers import numbers, protocol_of
from gear.study.vocabulary import METRICS, number

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


def sheet(spec, rows, comparisons):
    """The table as a Sheet: our values, paired differences if there are any, notes."""
    paper = f" · Table {spec['paper_table']} of the paper" if spec["paper_table"] else ""
    grids, notes = [_grid(spec, rows)], caption.table(spec)
    if comparisons:
        grids.append(_differences(spec, comparisons))
    return Sheet(spec["name"], spec["title"], paper, grids, [caption.collapsed(rows), *notes])


def _grid(spec, rows):
    """A Grid with a line per row: name, last step, parameters, metrics."""
    stops = {row["step"] for row in spec["rows"] if "run" in row}
    head = [Head("Setting", left=True)]
    head += [Head("Steps")] if len(stops) > 1 else []
    head += [Head("Params (M)", "Params")] if spec["parameters"] else []
    for position, column in enumerate(spec["columns"]):
        head.append(Head(caption.column_head(spec, column), caption.paper_head(spec, position)))
    lines = []
    for row in rows:
        bold = row.spec.get("bold", False)
        line = [Cell(_name(row), bold)]
        if len(stops) > 1:
            trained = "run" in row.spec
            line.append(Cell(f"{row.spec['step']} = {row.spec['steps']}" if trained else ""))
        line += [_cell(row.parameters, "params_m", False)] if spec["parameters"] else []
        for column, measured in zip(spec["columns"], row.measured, strict=True):
            line.append(_cell(measured, column["metric"], bold))
        lines.append(line)
    return Grid(head, lines)


def _name(row):
    """The row's name with its marks."""
    mark = " †" if row.collapsed else ""
    source = " (quoted)" if row.spec["source"] == "quoted" else ""
    return row.spec["row"] + mark + source


def _cell(measured, metric, bold):
    decimals, text = METRICS[metric].decimals, ""
    if measured.diverged:
        count = f" ({measured.diverged} of {measured.n})" if measured.n > 1 else ""
        text = f"diverged{count}"
    elif measured.mean is not None:
        text = number(measured.mean, decimals)
    if measured.sd is not None:
        text += f" ± {number(measured.sd, decimals)}"
    gain, delta = measured.gain, measured.delta
    return Cell(
        text,
        bold,
        gain="" if gain is None else f"({number(gain, decimals, signed=True)})",
        paper=measured.paper or "",
        delta="" if delta is None else f"Δ {number(delta, decimals, signed=True)}",
    )


def _differences(spec, comparisons):
    """A Grid with a line per pair of rows: mean ± sd (below zero / n, p of the sign test)."""
    head = [Head(caption.column_head(spec, column)) for column in spec["columns"]]
    metrics = [column["metric"] for column in spec["columns"]]
    lines = [
        [Cell(name), *(Cell(difference(*pair)) for pair in zip(compared, metrics, strict=True))]
        for name, compared in comparisons.items()
    ]
    above = caption.comparisons(comparisons)
    return Grid([Head("Difference", left=True), *head], lines, above)


def difference(compared, metric):
    """A paired difference in words, such as '−0.52 ± 0.13 (3/3, p 0.25)'."""
    decimals = METRICS[metric].decimals
    if not compared.whole:
        return "diverged" if compared.n else ""
    text = number(compared.mean, decimals, signed=True)
    text += "" if compared.sd is None else f" ± {number(compared.sd, decimals)}"
    return f"{text} ({compared.lower}/{compared.n}, p {compared.p:.2g})"


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
