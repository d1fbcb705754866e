"""What one figure job receives; see gear/report/spec.py."""

from gear.config import did_you_mean
from gear.report.vocabulary import metric
from gear.report.world import checkpoint_path, pick, protocol_name, world


def _convergence(study, entry, where):
    block = metric(entry["metric"], where).block
    if block != "generation":
        raise ValueError(f"{where}: '{entry['metric']}' is no metric of samples; choose gfid.")
    labels, curves = [c["label"] for c in entry["curves"]], []
    for curve in entry["curves"]:
        if "baseline" in curve and curve["baseline"] not in labels:
            cure = did_you_mean(curve["baseline"], labels)
            raise ValueError(f"{where}: there is no curve '{curve['baseline']}'. {cure}")
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
            raise ValueError(f"{where}: '{name}' has no AR layers; name a joint or ar run.")
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


KINDS = {
    "convergence": _convergence,
    "codebook": _codebook,
    "depth_similarity": _depth,
    "samples": _grid,
    "reconstruction_grid": _grid,
}


def figure_spec(study, name):
    """JSON-able: everything that the figure's job needs. ValueError: a name that leads nowhere."""
    entry, where = pick(study, "figure", name), f"figures.yaml, {name}"
    more, blocks, samplers, runs = KINDS[entry["kind"]](study, entry, where)
    head = {
        "name": name,
        "kind": entry["kind"],
        "title": entry["title"],
        "paper_figure": entry.get("paper"),
    }
    return head | more | world(study, list(runs), blocks, samplers)
