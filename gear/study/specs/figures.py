"""What one figure job receives; see gear/study/specs/tables.py."""

from gear.files.mistakes import Mistake, did_you_mean
from gear.study.published import published_row
from gear.study.specs.world import checkpoint_path, pick, protocol_name, world
from gear.study.vocabulary import metric


def _convergence(study, entry, where):
    block = metric(entry["metric"], where).block
    if block != "generation":
        raise Mistake(f"{where}: '{entry['metric']}' is no metric of samples; choose gfid.")
    labels, curves = [c["label"] for c in entry["curves"]], []
    for curve in entry["curves"]:
        if "baseline" in curve and curve["baseline"] not in labels:
            cure = did_you_mean(curve["baseline"], labels)
            raise Mistake(f"{where}: there is no curve '{curve['baseline']}'. {cure}")
        first = study.runs[curve["runs"][0]]
        points = []
        for step in first.steps:
            paths = {
                r: f"metrics/{checkpoint_path(study, r, step)}/{entry['sampler']}.json"
                for r in curve["runs"]
                if study.checkpoint(r, step, where)
            }
            points.append({"step": step, "steps": first.steps[step], "files": paths})
        curves.append(
            {
                "label": curve["label"],
                "stage": first.stage,
                "baseline": curve.get("baseline"),
                "points": points,
            }
        )
    return (
        {
            "metric": entry["metric"],
            "protocol": protocol_name(study, block),
            "sampler": entry["sampler"],
            "curves": curves,
        },
        {block},
        [entry["sampler"]],
        [r for c in entry["curves"] for r in c["runs"]],
    )


def _bars(study, entry, where):
    """Groups of bars, a panel for each sampler. Quoted bars are of ImageNet: the paper's study."""
    block = metric(entry["metric"], where).block
    if block != "generation":
        raise Mistake(f"{where}: '{entry['metric']}' is no metric of samples; choose gfid.")
    protocol, bars = protocol_name(study, block), []
    for row in entry["rows"]:
        bar = {"group": row["group"], "label": row["row"]}
        if "run" in row:
            run, step = row["run"].split("@")
            found = study.checkpoint(run, step, where)
            bar |= {"run": run, "stage": found.stage, "step": step, "steps": found.steps[step]}
            folder = f"metrics/{checkpoint_path(study, run, step)}"
            bar["file"] = {s: f"{folder}/{s}.json" for s in entry["samplers"]}
        else:
            cells = published_row(study, entry["quoted"], row["paper"], where)
            printed = cells.get(entry["metric"], [])
            bar["quoted"] = {s: value for s, p, value in printed if p == protocol}
        if "run" in bar or bar["quoted"]:
            bars.append(bar)
    more = {"metric": entry["metric"], "protocol": protocol, "table": entry.get("quoted")}
    runs = [bar["run"] for bar in bars if "run" in bar]
    return more | {"panels": entry["samplers"], "rows": bars}, {block}, entry["samplers"], runs


def _codebook(study, entry, where):
    curves = []
    for label, name in entry["runs"].items():
        run = study.runs[name]
        last = list(run.steps)[-1]  # its curves.csv holds the whole curve
        curves.append(
            {
                "label": label,
                "run": name,
                "milestones": dict(run.steps),
                "file": f"{checkpoint_path(study, name, last)}/curves.csv",
            }
        )
    references = []
    for label, reference in (entry.get("reference") or {}).items():
        run, step = reference.split("@")
        path = f"metrics/{checkpoint_path(study, *study.tokenizer_of(run, step))}/validation.json"
        references.append({"label": label, "run": run, "step": step, "file": path})
    first = study.runs[next(iter(entry["runs"].values()))].settings
    more = {"codes": first.tokenizer.codebook_size, "temperature": first.joint.temperature}
    return {"curves": curves, "references": references} | more, set(), [], entry["runs"].values()


def _grid(study, entry, where):
    rows = []
    for label, reference in entry["rows"].items():
        run, step = reference.split("@")
        found = study.checkpoint(run, step, where)
        rows.append(
            {
                "label": label,
                "run": run,
                "stage": found.stage,
                "step": step,
                "steps": found.steps[step],
                "seed": found.settings.seed,
                "file": f"samples/{checkpoint_path(study, run, step)}/pictures.npz",
            }
        )
    return {"rows": rows}, set(), [], [r["run"] for r in rows]


def _depth(study, entry, where):
    rows = []
    for label, reference in entry["rows"].items():
        name, step = reference.split("@")
        run = study.checkpoint(name, step, where)
        if run.stage == "tokenizer":
            raise Mistake(f"{where}: '{name}' has no AR layers; name a joint or ar run.")
        rows.append(
            {
                "label": label,
                "run": name,
                "stage": run.stage,
                "step": step,
                "steps": run.steps[step],
                "seed": run.settings.seed,
                "aligned": run.settings.align.layer,
                "teacher": run.settings.align.teacher,
                "file": f"analysis/{checkpoint_path(study, name, step)}.json",
            }
        )
    return {"rows": rows}, {"states"}, [], [r["run"] for r in rows]


def _class_grids(study, entry, where):
    more, blocks, _, runs = _grid(study, entry, where)
    for row in more["rows"]:
        row["file"] = row["file"].replace("/pictures.npz", f"/{entry['sampler']}.pictures.npz")
    return more, blocks, [entry["sampler"]], runs


KINDS = {
    "convergence": _convergence,
    "bars": _bars,
    "codebook": _codebook,
    "depth_similarity": _depth,
    "samples": _grid,
    "class_grids": _class_grids,
    "reconstruction_grid": _grid,
}


def figure_spec(study, name):
    """JSON-able: everything that the figure's job needs. Mistake: a name that leads nowhere."""
    entry, where = pick(study, "figure", name), f"figures.yaml, {name}"
    more, blocks, samplers, runs = KINDS[entry["kind"]](study, entry, where)
    head = {
        "name": name,
        "kind": entry["kind"],
        "title": entry["title"],
        "paper_figure": entry.get("paper"),
    }
    return head | more | world(study, list(runs), blocks, samplers)
