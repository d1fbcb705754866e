"""The verdict on each claim: its criteria, applied to the rows, limits or curves that it names.

The result of a criterion is True (it holds), False (it does not hold) or None (undecidable). The
criteria are in the spec that gear.study.specs.claims makes from claims.yaml.
"""

from dataclasses import dataclass

from gear.report.curves import (
    before_divergence,
    loss_diverged,
    loss_means,
    loss_speedups,
    read_curve,
    speedup,
)
from gear.report.seeds import paired
from gear.report.tables.numbers import measure
from gear.study.specs.claims import LIMITS, PAIRS
from gear.study.vocabulary import METRICS

VERDICTS = {True: "reproduced", False: "not reproduced", None: "not decidable here"}
SIGN = {"lower": -1, "higher": 1, "not_higher": -1, "not_lower": 1, "below": -1, "above": 1}
EQUAL_HOLDS = ("not_higher", "not_lower")


@dataclass
class Part:
    """One comparison, limit or curve of a claim's tests."""

    column: dict  # metric, sampler, protocol
    kind: str  # lower | higher | not_higher | not_lower | below | above | sooner
    row: str
    than: str | float  # the other row, or the limit
    n: int  # seeds that both rows have
    holds: bool | None
    value: float | None = None
    than_value: float | None = None
    difference: float | None = None  # mean over seeds; for a curve the speed-up
    sd: float | None = None
    holding: int = 0  # seeds on which it holds
    margin: float | None = None  # with one training the difference must exceed this
    paper: float | None = None  # the paper's difference
    diverged: bool = False


@dataclass
class Judged:
    claim: dict
    parts: list

    @property
    def where(self):
        """The table or figure of this study on which the claim is judged."""
        return self.claim.get("table") or self.claim["figure"]

    @property
    def holds(self):
        """False if a part fails, else None if a part is undecidable, else True."""
        results = [part.holds for part in self.parts]
        if False in results:
            return False
        return None if None in results else True

    @property
    def verdict(self):
        """The verdict with its reason or its number of seeds."""
        n = min(part.n for part in self.parts)
        if self.holds is None:
            diverged = any(part.diverged for part in self.parts)
            reason = "a run diverged" if diverged else f"n = {n}"
            return f"{VERDICTS[None]} ({reason})"
        return f"{VERDICTS[self.holds]} (n = {n})"


class Judge:
    """Judges the claims of a spec on a study's results."""

    def __init__(self, results, spec):
        self.results, self.spec = results, spec
        self.rows = {(row["table"], row["row"]): row for row in spec["rows"]}
        self.spreads = {}

    def cell(self, table, row, column):
        """The Measurement of a row in a column of its table."""
        return measure(self.results, self.rows[table, row], column)

    def spread(self, metric):
        """The largest relative sd of a metric's paired differences; None if none was measured.

        Each sd is divided by the mean of the second row of its pair."""
        if metric not in self.spreads:
            spread, relative = self.spec["spread"], []
            for column in (c for c in spread.get("columns", ()) if c["metric"] == metric):
                for pair in spread["comparisons"]:
                    a, b = (self.cell(spread["table"], row, column) for row in pair)
                    sd = paired(a, b).sd
                    if sd is not None and b.mean:
                        relative.append(sd / abs(b.mean))
            self.spreads[metric] = max(relative, default=None)
        return self.spreads[metric]

    def margin(self, metric, value):
        """The margin for the difference of one training from `value`; None: not known."""
        spread = self.spread(metric)
        return None if spread is None else self.spec["spread"]["sds"] * spread * abs(value)

    def pair(self, table, column, position, kind, row, than):
        """The Part of two rows. It holds if it holds on every seed that both rows have."""
        a, b = (self.cell(table, name, column) for name in (row, than))
        pairs, sign = paired(a, b), SIGN[kind]
        part = Part(column, kind, row, than, pairs.n, None, a.mean, b.mean, pairs.mean, pairs.sd)
        printed = [self.rows[table, name]["paper"].get(str(position)) for name in (row, than)]
        if all(printed):
            part.paper = float(printed[0]["value"]) - float(printed[1]["value"])
        if not pairs.whole:
            part.diverged = pairs.n > 0
            return part
        part.holding = sum(
            d * sign > 0 or (d == 0 and kind in EQUAL_HOLDS) for d in pairs.values.values()
        )
        part.holds = part.holding == pairs.n
        if pairs.n == 1:
            part.margin = self.margin(column["metric"], b.mean)
            if part.margin is None or abs(pairs.mean) <= part.margin:
                part.holds = None
        return part

    def limit(self, table, column, kind, row, limit):
        """The Part of a row and a number. It holds if it holds on every seed."""
        cell = self.cell(table, row, column)
        part = Part(column, kind, row, limit, cell.n, None, cell.mean, limit)
        if cell.mean is None:
            part.diverged = cell.n > 0
            return part
        part.holding = sum((v - limit) * SIGN[kind] > 0 for v in cell.values.values())
        part.holds = part.holding == part.n
        return part

    def curve(self, column, label):
        """The Part of a curve's speed-up.

        With one seed the verdict must not change when the baseline's last value moves by ± the
        margin; otherwise it is undecided."""
        curves = {c["label"]: c for c in self.spec["curves"]}
        if "files" in curves[label]:
            return self.losses(column, curves[label], curves[curves[label]["baseline"]])
        baseline, better = curves[label]["baseline"], METRICS[column["metric"]].better
        read = [read_curve(self.results, column, curves[name]) for name in (label, baseline)]
        n = min(point.n for points in read for point in points)
        part = Part(column, "sooner", label, baseline, n, None)
        if any(before_divergence(points) != points for points in read):
            part.diverged = True
            return part
        points, end = read[0], read[1][-1]
        part.value, part.than_value = points[-1].mean, end.mean

        def factor(goal):
            return speedup(points, end.steps, goal, better).factor

        part.difference = factor(end.mean)
        part.margin = self.margin(column["metric"], end.mean) if n == 1 else 0.0
        if part.margin is not None:
            hard, easy = (factor(end.mean + s * better * part.margin) for s in (1, -1))
            stands, falls = (hard or 0) > 1, (easy or 0) <= 1
            if stands or falls:
                part.holds = stands
        part.holding = int(bool(part.holds))
        return part

    def losses(self, column, curve, baseline):
        """The Part on whether a loss reaches the end of its baseline's sooner, paired over seeds.

        With one seed it is judged as in `curve`, with the paired spread of the loss on validation
        captions as margin."""

        def factors(shift=0.0):
            found = loss_speedups(self.results, column, curve, baseline, shift)
            return [speedup.factor or 0.0 for speedup in found.values()]

        seen = factors()
        part = Part(column, "sooner", curve["label"], baseline["label"], len(seen), None)
        if any(loss_diverged(self.results, column, each) for each in (curve, baseline)):
            part.diverged = True
            return part
        if not seen:  # no seed in common
            return part
        part.paper = float(column["paper"][curve["label"]]) if column["paper"] else None
        part.difference = sum(seen) / len(seen) if all(seen) else None
        part.holding = sum(factor > 1 for factor in seen)
        if part.n > 1:
            part.holds = part.holding == part.n
            return part
        ends = [mean[-1][1] for mean in loss_means(self.results, column, baseline).values()]
        part.than_value = ends[0]
        part.margin = self.margin(column["metric"], ends[0])
        if part.margin is not None:
            (hard,), (easy,) = (factors(sign * part.margin) for sign in (-1, 1))
            if hard > 1 or easy <= 1:
                part.holds = hard > 1
        return part

    def judge(self, claim):
        """The Judged claim, with a Part for each comparison, limit and curve."""
        parts = []
        for test in claim["tests"]:
            column, table = test["column"], claim.get("table")
            for kind in PAIRS:
                for pair in test.get(kind, ()):
                    parts.append(self.pair(table, column, test["position"], kind, *pair))
            for kind in LIMITS:
                for row, limit in test.get(kind, {}).items():
                    parts.append(self.limit(table, column, kind, row, limit))
            parts += [self.curve(column, label) for label in test.get("sooner", ())]
        return Judged(claim, parts)
