"""What a table or a figure needs, read off the files that its job reads."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gear.config import did_you_mean
from gear.report.spec import figure_spec, inputs, table_spec


@dataclass
class Wanted:
    """runs: {run: its last milestone}, in the registry's order, with the runs whose tokenizers they
    start from; the others as (run, step) and (run, step, sampler), sorted."""

    runs: dict = field(default_factory=dict)
    evaluations: list = field(default_factory=list)  # validation and pictures of a checkpoint
    drawings: list = field(default_factory=list)
    analyses: list = field(default_factory=list)


def shown(study, target):
    """(tables, figures) that a target stands for. ValueError: the study has no such target."""
    groups = {
        "all": (study.tables, study.figures),
        "all_tables": (study.tables, ()),
        "all_figures": ((), study.figures),
        "quick": (("overview",), ("samples",)),
    }
    if target in groups:
        return groups[target]
    if target in study.tables:
        return (target,), ()
    if target in study.figures:
        return (), (target,)
    cure = did_you_mean(target, [*groups, *study.tables, *study.figures])
    raise ValueError(f"study '{study.name}' has no target '{target}'. {cure}")


def files(study, target):
    """What the jobs of a target's tables and figures read, relative to the study's root."""
    tables, figures = shown(study, target)
    specs = [table_spec(study, name) for name in tables]
    specs += [figure_spec(study, name) for name in figures]
    return sorted({path for spec in specs for path in inputs(spec)})


def wanted(study, target="all"):
    """The Wanted of a target: see gear/report/spec.py for the paths."""
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
            else:
                found.evaluations.append((run, step))
        else:
            run, step = path.parts[1:3]
        _train(study, found.runs, run, step)
    found.evaluations, found.drawings = (
        sorted(set(x)) for x in (found.evaluations, found.drawings)
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
    """Whether a milestone is finished."""
    return Path(study.path(run, step), "run.json").is_file()
