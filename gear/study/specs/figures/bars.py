"""A metric of samples as groups of bars, a panel for each sampler, with bars that the paper prints.

Those are of ImageNet and drawn in the paper's study alone."""

from typing import Annotated

from pydantic import Field

from gear.study.models import shown
from gear.study.models.base import Checkpoint, Count, Some
from gear.study.models.base import Entry as Mapping
from gear.study.needs import Need
from gear.study.published import published_row
from gear.study.specs.figure import Shown, of_samples
from gear.study.specs.tables import table_spec
from gear.study.specs.world import named, shows_paper


class Bar(Mapping):
    group: str
    row: str
    run: Checkpoint = ""
    paper: str = ""


class Entry(shown.Figure):
    metric: shown.Metric
    samplers: Some
    spread: str = ""  # a table whose seeds say how far trainings differ
    quoted: Count = 1
    rows: Annotated[list[Bar], Field(min_length=1)]


def _seeded(study, table):
    """The rows of a table whose runs have several seeds."""
    rows = table_spec(study, table)["rows"]
    return [row for row in rows if len(row.get("replicas", ())) > 1]


def spec(study, entry, where):
    block, content = of_samples(study, entry, where)
    bars = []
    for row in entry["rows"]:
        bar = {"group": row["group"], "label": row["row"]}
        if "run" in row:
            checkpoint = study.at(row["run"], where)
            files = {s: Need("scores", checkpoint, s) for s in entry["samplers"]}
            bar |= named(study, checkpoint) | {"file": files}
        elif shows_paper(study):
            cells = published_row(study, entry["quoted"], row["paper"], where)
            printed = cells.get(entry["metric"], [])
            bar["quoted"] = {s: value for s, p, value in printed if p == content["protocol"]}
        if "run" in bar or bar.get("quoted"):
            bars.append(bar)
    content |= {"table": entry.get("quoted"), "panels": entry["samplers"], "rows": bars}
    seeded = study.tables.get(entry.get("spread"), {})
    if "seeds" in seeded:
        content["spread"] = entry["spread"]
        content["seeded"] = _seeded(study, entry["spread"])
    runs = [bar["run"] for bar in bars if "run" in bar]
    return Shown(content, runs, frozenset({block}), tuple(entry["samplers"]))
