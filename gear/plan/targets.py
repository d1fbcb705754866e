"""What a table or a figure needs, read off the files that its job reads."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gear.artifacts.units import record_file, unit_of
from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_json
from gear.study.specs.claims import claims_spec
from gear.study.specs.tables import figure_spec, inputs, table_spec


@dataclass
class Wanted:
    """runs: {run: its last milestone}, in the registry's order, with the runs whose tokenizers they
    start from; the others as (run, step) and (run, step, sampler), sorted."""

    runs: dict = field(default_factory=dict)
    evaluations: list = field(default_factory=list)  # validation and pictures of a checkpoint
    drawings: list = field(default_factory=list)
    scores: list = field(default_factory=list)  # of drawings
    pictures: list = field(default_factory=list)  # of drawings
    analyses: list = field(default_factory=list)


def shown(study, target):
    """The specs of what a target stands for. Mistake: the study has no such target."""
    made = {name: (table_spec, name) for name in study.tables}
    made |= {name: (figure_spec, name) for name in study.figures}
    groups = {
        "all": (*study.tables, "claims", *study.figures),
        "all_tables": (*study.tables, "claims"),
        "all_figures": tuple(study.figures),
        "quick": ("overview", "samples"),
    }
    if target not in (*groups, *made, "claims"):
        cure = did_you_mean(target, [*groups, *made, "claims"])
        raise Mistake(f"study '{study.name}' has no target '{target}'. {cure}")
    for name in groups.get(target, (target,)):
        if name == "claims":
            yield claims_spec(study)
        else:
            make, name = made[name]
            yield make(study, name)


def files(study, target):
    """What the jobs of a target's tables and figures read, relative to the study's root."""
    return sorted({path for spec in shown(study, target) for path in inputs(spec)})


def wanted(study, target="all"):
    """The Wanted of a target: see gear/study/specs/tables.py for the paths."""
    found = Wanted()
    for path in map(PurePosixPath, files(study, target)):
        noun = path.parts[0]
        if noun == "analysis":
            run, step = path.parts[2], path.stem
            found.analyses.append((run, step))
        elif noun in ("metrics", "samples"):
            run, step = path.parts[2:4]
            sampler = path.name.removesuffix(path.suffix).removesuffix(".pictures")
            if sampler in study.spec["samplers"]:
                found.drawings.append((run, step, sampler))
                kind = found.scores if noun == "metrics" else found.pictures
                kind.append((run, step, sampler))
            else:
                found.evaluations.append((run, step))
        else:
            run, step = path.parts[1:3]
        _train(study, found.runs, run, step)
    found.evaluations, found.drawings = (
        sorted(set(each)) for each in (found.evaluations, found.drawings)
    )
    found.runs = {name: found.runs[name] for name in study.runs if name in found.runs}
    return found


def _train(study, runs, name, step):
    """Add a run up to a milestone, and those whose tokenizers it starts from."""
    order = list(study.runs[name].steps)
    runs[name] = max(runs.get(name, step), step, key=order.index)
    if study.runs[name].tokenizer:
        _train(study, runs, *study.runs[name].tokenizer.split("@"))


def is_made(study, run, step):
    """Whether a milestone is finished, or was saved (in whatever settings)."""
    return Path(study.path(run, step), "run.json").is_file()


def lies(path):
    """Whether a file is there, or was saved: the record of its run names it (an older one that of
    its folder)."""
    if Path(path).is_file():
        return True
    files = [record_file(name) for name in (unit_of(path), str(Path(path).parent))]
    records = [read_json(file, "take it from git") for file in files if file.is_file()]
    return any(path in job["outputs"] for record in records for job in record.get("jobs", ()))
