"""A table of settings: the paper's beside the resolved settings of one of the study's runs."""

from gear.report import caption
from gear.report.files import csv_text
from gear.report.sheet import Cell, Grid, Head, Sheet, formats
from gear.report.tables.table import COLUMNS

HEAD = ("Setting", "Paper", "Ours")


def forms(results, spec):
    """{ending: text} of the table: csv, md, tex and html. No file of the results is read."""
    return {"csv": csv_text(COLUMNS, csv_lines(spec)), **formats(sheet(spec))}


def sheet(spec):
    """The table as a Sheet; a setting that is not the paper's is emphasised."""
    paper = f" · Table {spec['paper_table']} of the paper" if spec["paper_table"] else ""
    lines = [
        [
            Cell(row["row"]),
            Cell(row["paper"].get("0", {}).get("value", "")),
            Cell(row["ours"], emphasis=not row.get("same", True)),
        ]
        for row in spec["rows"]
    ]
    head = [Head(text, left=True) for text in HEAD]
    of, same, printed = spec["of"], spec["same"], spec["printed"]
    notes = [spec["note"]] if "note" in spec else []
    notes.append(f"Ours: the settings that the run {of['run']} resolves to at {of['step']}.")
    if printed:
        notes.append(
            f"{same} of the {printed} settings are the paper's; the others are emphasised."
        )
    details = caption.origin(spec, (), [of])
    grid = Grid(head, lines)
    return Sheet(spec["name"], spec["title"], paper, spec["reading"], [grid], [notes], details)


def csv_lines(spec):
    """The lines of the tidy CSV, in the order of the rows."""
    of = spec["of"]
    for row in spec["rows"]:
        yield {
            "table": spec["name"],
            "row": row["row"],
            "run": of["run"],
            "step": of["step"],
            "steps": of["steps"],
            "seed_n": 1,
            "protocol": "setting",
            "metric": "setting",
            "ours": row["ours"],
            "paper": row["paper"].get("0", {}).get("value"),
            "source": row["source"],
        }
