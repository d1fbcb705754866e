"""One table from the metrics of its runs: CSV for programs, Markdown and LaTeX for people.

    python -m gear.report.tables.table --root ROOT --spec JSON --output ROOT/tables/NAME

writes NAME.csv, NAME.md, NAME.tex and NAME.html. Equal inputs give equal bytes. JSON is what
`gear.study.specs.tables.table_spec` made.
"""

import argparse
import json
import math
import statistics
from dataclasses import dataclass, field

from gear.files.aside import write
from gear.files.mistakes import Mistake
from gear.report import files
from gear.report.tables import markup
from gear.study.vocabulary import ANALYSED, COLLAPSED, METRICS, plain

COLUMNS = (
    "table,row,run,step,steps,seed_n,sampler,protocol,metric,ours,ours_sd,paper,delta_paper,"
    "gain,source"
).split(",")


@dataclass
class Cell:
    """One metric of one row: a value per seed (None where the run diverged), and the paper's."""

    values: dict = field(default_factory=dict)
    paper: str | None = None  # as the paper prints it
    delta: float | None = None  # ours minus the paper's, where that means anything
    gain: float | None = None  # mean over seeds of the row minus its baseline row

    @property
    def diverged(self):
        return sum(v is None for v in self.values.values())

    @property
    def mean(self):
        """Mean over seeds; None without values, and where any run diverged: a mean over the
        runs that survived would flatter."""
        whole = self.values and not self.diverged
        return statistics.fmean(self.values.values()) if whole else None

    @property
    def sd(self):
        """Sample standard deviation over seeds, None with less than two."""
        whole = len(self.values) > 1 and not self.diverged
        return sd(list(self.values.values())) if whole else None


@dataclass
class Row:
    spec: dict
    cells: list  # one Cell per column of the table
    parameters: Cell | None  # in millions
    collapsed: int  # how many of its runs use less than COLLAPSED of their codes


@dataclass
class Comparison:
    """Row a minus row b in one metric, a difference per seed that both have."""

    differences: list  # None where one of the two diverged

    @property
    def n(self):
        return len(self.differences)

    @property
    def whole(self):
        return bool(self.differences) and None not in self.differences

    @property
    def lower(self):
        return sum(d is not None and d < 0 for d in self.differences)

    @property
    def mean(self):
        return statistics.fmean(self.differences) if self.whole else None

    @property
    def sd(self):
        return sd(self.differences) if self.whole and self.n > 1 else None

    @property
    def p(self):
        return sign_test(self.differences) if self.whole else None


def sd(values):
    """Sample standard deviation; nan where a value is infinite."""
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def sign_test(differences):
    """Exact two-sided p of the sign test; zeros do not count. 3 of 3 gives 0.25."""
    lower, higher = sum(d < 0 for d in differences), sum(d > 0 for d in differences)
    n, k = lower + higher, min(lower, higher)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


class Reader:
    """The numbers below a root, every file read once."""

    def __init__(self, root):
        self.root, self.read = root, {}

    def json(self, path):
        if path not in self.read:
            self.read[path] = files.read_json(self.root, path)
        return self.read[path]

    def value(self, path, group, key):
        """{group: {key: value}} of the file; None where the run diverged."""
        groups = self.json(path)
        if group not in groups:
            raise Mistake(
                f"{path} holds {', '.join(sorted(groups)) or 'nothing'}, not '{group}'; delete it "
                "and score that checkpoint again."
            )
        if groups[group] is None:
            return None
        if key not in groups[group]:
            raise Mistake(
                f"{path} has no '{key}' under '{group}'; delete it and score that checkpoint again."
            )
        return groups[group][key]


def _values(reader, row, column):
    """{seed: value} of one cell; empty where this kind of checkpoint has no such metric."""
    block, values = METRICS[column["metric"]].block, {}
    for replica in row["replicas"]:
        paths = replica["files"]
        if block == "generation":
            sampler = row["sampler"] if column["sampler"] is None else column["sampler"]
            path = paths.get("generation", {}).get(sampler)
        else:
            own = block in ("likelihood", *ANALYSED)
            path = paths.get(block if own else "tokenizer")
        if path is not None:
            value = reader.value(path, column["protocol"], column["metric"])
            values[replica["seed"]] = value
    return values


def cell_of(reader, row, column, printed=None):
    """The Cell of a row, without what needs other rows; printed: the paper's value as text."""
    return Cell(_values(reader, row, column) if "run" in row else {}, printed)


def _row(reader, spec, row):
    cells = []
    for position, column in enumerate(spec["columns"]):
        printed = row["paper"].get(str(position), {})
        cell = cell_of(reader, row, column, printed.get("value"))
        same = spec["study"] == "paper" and printed.get("protocol") == column["protocol"]
        if same and cell.mean is not None:
            cell.delta = cell.mean - float(cell.paper)
        cells.append(cell)
    parameters, collapsed = None, 0
    if spec["parameters"]:
        parameters = Cell(paper=row["paper"].get("params_m", {}).get("value"))
        if "run" in row:
            count = reader.json(row["parameters"])["parameters"][spec["parameters"]]
            parameters.values = {row["replicas"][0]["seed"]: count / 1e6}
    for replica in row.get("replicas", ()):
        if "tokenizer" not in replica["files"]:
            continue
        usage = reader.value(replica["files"]["tokenizer"], "codebook", "usage")
        collapsed += usage is not None and usage < COLLAPSED
    return Row(row, cells, parameters, collapsed)


def paired(a, b):
    """Comparison of two Cells over the seeds that both have."""
    both = [(a.values[s], b.values[s]) for s in a.values if s in b.values]
    return Comparison([None if None in pair else pair[0] - pair[1] for pair in both])


def build(root, spec):
    """(rows, {'A − B': [Comparison per column]}) of a table."""
    reader = Reader(root)
    rows = {row["row"]: _row(reader, spec, row) for row in spec["rows"]}
    for row in rows.values():
        if row.spec.get("baseline"):
            for cell, base in zip(row.cells, rows[row.spec["baseline"]].cells, strict=True):
                cell.gain = paired(cell, base).mean
    comparisons = {
        f"{a} − {b}": [paired(*pair) for pair in zip(rows[a].cells, rows[b].cells, strict=True)]
        for a, b in spec["comparisons"]
    }
    return list(rows.values()), comparisons


def _line(spec, row, metric, cell, column=None):
    """One line of the CSV, or None for a cell that neither we nor the paper have."""
    if not cell.values and cell.paper is None:
        return None
    column = column or {"sampler": "", "protocol": ""}
    sampler = column["sampler"]
    return {
        "table": spec["name"],
        "row": row["row"],
        "run": row.get("run", ""),
        "step": row.get("step", ""),
        "steps": row.get("steps", ""),
        "seed_n": len(cell.values) or "",
        "sampler": row.get("sampler", "") if sampler is None else sampler,
        "protocol": column["protocol"],
        "metric": metric,
        "ours": "diverged" if cell.diverged else plain(cell.mean),
        "ours_sd": plain(cell.sd),
        "paper": plain(None if cell.paper is None else float(cell.paper)),
        "delta_paper": plain(cell.delta),
        "gain": plain(cell.gain),
        "source": row["source"],
    }


def csv_lines(spec, rows, comparisons):
    """The lines of the tidy CSV, in the order of the table's rows and columns."""
    lines = []
    for row in rows:
        if row.parameters:
            lines.append(_line(spec, row.spec, "params_m", row.parameters))
        for column, cell in zip(spec["columns"], row.cells, strict=True):
            lines.append(_line(spec, row.spec, column["metric"], cell, column))
    for name, compared in comparisons.items():
        for column, found in zip(spec["columns"], compared, strict=True):
            head = {"table": spec["name"], "row": name, "seed_n": found.n, "source": "trained"}
            head |= {"sampler": column["sampler"] or "", "protocol": column["protocol"]}
            mean = plain(found.mean) if found.whole or not found.n else "diverged"
            lines.append(
                head | {"metric": column["metric"], "ours": mean, "ours_sd": plain(found.sd)}
            )
            lines.append(head | {"metric": column["metric"] + "_sign_p", "ours": plain(found.p)})
    return [line for line in lines if line]


def write_table(root, spec, output):
    """Write output.{csv,md,tex,html}."""
    rows, comparisons = build(root, spec)
    write(f"{output}.csv", files.csv_text(COLUMNS, csv_lines(spec, rows, comparisons)))
    text = markup.markdown(spec, rows, comparisons)
    write(f"{output}.md", text)
    write(f"{output}.html", markup.html(spec["title"], text))
    write(f"{output}.tex", markup.latex(spec, rows, comparisons))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", required=True, help="folder of the study's results")
    parser.add_argument("--spec", required=True, help="JSON of gear.study.specs.tables.table_spec")
    parser.add_argument("--output", required=True, help="path of the table without its ending")
    given = parser.parse_args(arguments)
    try:
        write_table(given.root, json.loads(given.spec), given.output)
    except Mistake as error:
        raise SystemExit(f"gear.report.tables.table: {error}") from None


if __name__ == "__main__":
    main()
