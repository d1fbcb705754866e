"""The page of what reproduces and what does not: each claim, its criterion, what was seen.

    python -m gear.report.tables.claims --root ROOT --spec JSON --output ROOT/tables/claims

writes claims.{csv,md,tex,html}. JSON is what gear.study.specs.claims made of claims.yaml.
A criterion holds, does not, or cannot be judged: True, False or None here.
"""

import argparse
import json
from dataclasses import dataclass

from gear.files.aside import write
from gear.files.mistakes import Mistake
from gear.report import files
from gear.report.figures.convergence import read_curve, speedups
from gear.report.tables import claimtext, markup
from gear.report.tables.table import Reader, cell_of, paired
from gear.study.vocabulary import METRICS, plain

VERDICTS = {True: "reproduced", False: "not reproduced", None: "not decidable here"}
SIGN = {"lower": -1, "higher": 1, "below": -1, "above": 1}
CSV = (
    "claim,verdict,source,table,metric,sampler,protocol,criterion,row,than,seed_n,value,than_value,"
    "difference,difference_sd,holding,margin,paper_difference,holds"
).split(",")


@dataclass
class Part:
    """One comparison, limit or curve of a claim's tests."""

    column: dict  # metric, sampler, protocol
    kind: str  # lower | higher | below | above | sooner
    row: str
    than: str | float  # the other row, or the limit
    n: int  # seeds that both rows have
    holds: bool | None
    value: float | None = None
    than_value: float | None = None
    difference: float | None = None  # mean over seeds; of a curve the speed-up
    sd: float | None = None
    holding: int = 0  # seeds on which it holds
    margin: float | None = None  # what one training's difference must exceed
    paper: float | None = None  # the paper's difference
    diverged: bool = False


@dataclass
class Judged:
    claim: dict
    parts: list

    @property
    def holds(self):
        """All parts hold, one fails, or what is left cannot be judged."""
        seen = [part.holds for part in self.parts]
        return False if False in seen else None if None in seen else True

    @property
    def verdict(self):
        """The verdict with its reason or its number of seeds."""
        n = min(part.n for part in self.parts)
        if self.holds is None:
            gone = any(part.diverged for part in self.parts)
            return f"{VERDICTS[None]} ({'a run diverged' if gone else f'n = {n}'})"
        return f"{VERDICTS[self.holds]} (n = {n})"


class Judge:
    def __init__(self, root, spec):
        self.root, self.spec, self.reader = root, spec, Reader(root)
        self.rows = {(row["table"], row["row"]): row for row in spec["rows"]}
        self.spreads = {}

    def cell(self, table, row, column):
        """The Cell of a row in a column of its table."""
        return cell_of(self.reader, self.rows[table, row], column)

    def spread(self, metric):
        """The largest sd of a paired difference that the study measured in a metric, relative to
        the row that it is from; None where it measured none."""
        if metric not in self.spreads:
            table, found = self.spec["spread"]["table"], []
            columns = self.spec["spread"].get("columns", ())
            for column in (c for c in columns if c["metric"] == metric):
                for pair in self.spec["spread"]["comparisons"]:
                    a, b = (self.cell(table, row, column) for row in pair)
                    sd = paired(a, b).sd
                    if sd is not None and b.mean:
                        found.append(sd / abs(b.mean))
            self.spreads[metric] = max(found, default=None)
        return self.spreads[metric]

    def margin(self, metric, value):
        """What the difference of one training from `value` must exceed; None: not known."""
        spread = self.spread(metric)
        return None if spread is None else self.spec["spread"]["sds"] * spread * abs(value)

    def pair(self, table, column, position, kind, row, than):
        a, b = (self.cell(table, name, column) for name in (row, than))
        found, sign = paired(a, b), SIGN[kind]
        part = Part(column, kind, row, than, found.n, None, a.mean, b.mean, found.mean, found.sd)
        printed = [self.rows[table, name]["paper"].get(str(position)) for name in (row, than)]
        if all(printed):
            part.paper = float(printed[0]["value"]) - float(printed[1]["value"])
        if not found.whole:
            part.diverged = found.n > 0
            return part
        part.holding = sum(d * sign > 0 for d in found.differences)
        part.holds = part.holding == found.n
        if found.n == 1:
            part.margin = self.margin(column["metric"], b.mean)
            if part.margin is None or abs(found.mean) <= part.margin:
                part.holds = None
        return part

    def limit(self, table, column, kind, row, limit):
        cell = self.cell(table, row, column)
        part = Part(column, kind, row, limit, len(cell.values), None, cell.mean, limit)
        if cell.mean is None:
            part.diverged = bool(cell.values)
            return part
        part.holding = sum((v - limit) * SIGN[kind] > 0 for v in cell.values.values())
        part.holds = part.holding == part.n
        return part

    def curve(self, column, label):
        """The speed-up of one curve. With one training it is judged only where it would stand if
        the baseline had ended a margin better, and fall if it had ended a margin worse."""
        curves = {c["label"]: c for c in self.spec["curves"]}
        baseline, better = curves[label]["baseline"], METRICS[column["metric"]].better
        read = {x: read_curve(self.root, column, curves[x]) for x in (label, baseline)}
        n = min(point[2] for points in read.values() for point in points)
        points = {x: [(p[1], p[3]) for p in read[x] if p[3] is not None] for x in read}
        part = Part(column, "sooner", label, baseline, n, None)
        if any(len(points[x]) < len(read[x]) for x in read):
            part.diverged = True
            return part
        target = points[baseline][-1][1]
        part.value, part.than_value = points[label][-1][1], target

        def factor(goal):
            shifted = [*points[baseline][:-1], (points[baseline][-1][0], goal)]
            found = speedups({label: (baseline, points[label]), baseline: (None, shifted)}, better)
            steps, _, reached = found[label]
            return steps / reached if reached else None

        part.difference = factor(target)
        part.margin = self.margin(column["metric"], target) if n == 1 else 0.0
        if part.margin is not None:
            hard, easy = (factor(target + s * better * part.margin) for s in (1, -1))
            stands, falls = (hard or 0) > 1, (easy or 0) <= 1
            part.holds = True if stands else False if falls else None
        part.holding = int(bool(part.holds))
        return part

    def judge(self, claim):
        parts = []
        for test in claim["tests"]:
            column, table = test["column"], claim.get("table")
            for kind in ("lower", "higher"):
                for pair in test.get(kind, ()):
                    parts.append(self.pair(table, column, test["position"], kind, *pair))
            for kind in ("below", "above"):
                for row, limit in test.get(kind, {}).items():
                    parts.append(self.limit(table, column, kind, row, limit))
            parts += [self.curve(column, label) for label in test.get("sooner", ())]
        return Judged(claim, parts)


def csv_lines(judged):
    """A line for each part of each claim."""
    for found in judged:
        for part in found.parts:
            yield {
                "claim": found.claim["claim"],
                "verdict": found.verdict,
                "source": found.claim["source"],
                "table": found.claim.get("table") or found.claim["figure"],
                "criterion": part.kind,
                "row": part.row,
                "than": part.than,
                "seed_n": part.n,
                "value": plain(part.value),
                "than_value": plain(part.than_value),
                "difference": plain(part.difference),
                "difference_sd": plain(part.sd),
                "holding": part.holding,
                "margin": plain(part.margin),
                "paper_difference": plain(part.paper),
                "holds": {True: "yes", False: "no", None: ""}[part.holds],
            } | {k: part.column[k] or "" for k in ("metric", "sampler", "protocol")}


def write_claims(root, spec, output):
    """Write output.{csv,md,tex,html}."""
    judge = Judge(root, spec)
    judged = [judge.judge(claim) for claim in spec["claims"]]
    write(f"{output}.csv", files.csv_text(CSV, csv_lines(judged)))
    text = claimtext.markdown(spec, judged)
    write(f"{output}.md", text)
    write(f"{output}.html", markup.html(claimtext.TITLE, text))
    write(f"{output}.tex", claimtext.latex(spec, judged))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", required=True, help="folder of the study's results")
    parser.add_argument("--spec", required=True, help="JSON of gear.study.specs.claims")
    parser.add_argument("--output", required=True, help="path of the page without its ending")
    given = parser.parse_args(arguments)
    try:
        write_claims(given.root, json.loads(given.spec), given.output)
    except Mistake as error:
        raise SystemExit(f"gear.report.tables.claims: {error}") from None


if __name__ == "__main__":
    main()
