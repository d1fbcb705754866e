"""A metric of samples as groups of bars, a panel for each sampler, with bars that the paper prints.

Those are of ImageNet and drawn in the paper's study alone."""

from gear.study.needs import Need
from gear.study.published import published_row
from gear.study.specs.figure import Shown, of_samples
from gear.study.specs.world import named


def spec(study, entry, where):
    block, content = of_samples(study, entry, where)
    bars = []
    for row in entry["rows"]:
        bar = {"group": row["group"], "label": row["row"]}
        if "run" in row:
            checkpoint = study.at(row["run"], where)
            files = {s: Need("scores", checkpoint, s) for s in entry["samplers"]}
            bar |= named(study, checkpoint) | {"file": files}
        else:
            cells = published_row(study, entry["quoted"], row["paper"], where)
            printed = cells.get(entry["metric"], [])
            bar["quoted"] = {s: value for s, p, value in printed if p == content["protocol"]}
        if "run" in bar or bar["quoted"]:
            bars.append(bar)
    content |= {"table": entry.get("quoted"), "panels": entry["samplers"], "rows": bars}
    runs = [bar["run"] for bar in bars if "run" in bar]
    return Shown(content, runs, frozenset({block}), tuple(entry["samplers"]))
