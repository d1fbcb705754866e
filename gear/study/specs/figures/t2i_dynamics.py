"""The losses of text-to-image trainings over their steps, and GEAR's speed-up over its baseline."""

from typing import Annotated

from pydantic import Field

from gear.files.mistakes import Mistake, did_you_mean
from gear.study.models import shown
from gear.study.models.base import Entry as Mapping
from gear.study.needs import Need
from gear.study.published import published_row
from gear.study.specs.figure import Shown
from gear.study.specs.world import shows_paper

PANELS = ("ntp", "align")


class Curve(Mapping):
    label: str
    run: str
    baseline: str = ""
    paper: str = ""


class Entry(shown.Figure):
    window: Annotated[float, Field(gt=0, lt=1)]  # of the running mean, a share of the steps
    quoted: str = ""  # the table of paper.csv with the speed-ups
    curves: Annotated[list[Curve], Field(min_length=1)]


def _curve(study, curve, where):
    """A curve with all trainings of its run. curves.csv of the last milestone holds all steps."""
    run = study.run(curve["run"], where)
    milestones = list(run.steps.items())
    files, seeds = {}, {}
    for name in study.replicas(curve["run"]):
        files[name] = Need("curves", study.shown(name, milestones[-1][0], where))
        seeds[name] = study.runs[name].settings.seed
    return {
        "label": curve["label"],
        "stage": run.stage,
        "baseline": curve.get("baseline"),
        "milestones": [{"step": step, "steps": steps} for step, steps in milestones],
        "files": files,
        "seeds": seeds,
    }


def spec(study, entry, where):
    labels, curves, paper = [c["label"] for c in entry["curves"]], [], {}
    for curve in entry["curves"]:
        if "baseline" in curve and curve["baseline"] not in labels:
            cure = did_you_mean(curve["baseline"], labels)
            raise Mistake(f"{where}: there is no curve '{curve['baseline']}'. {cure}")
        curves.append(_curve(study, curve, where))
        if "paper" in curve and shows_paper(study):
            printed = published_row(study, entry["quoted"], curve["paper"], where)
            paper[curve["label"]] = {m: printed[m][0][2] for m in PANELS if m in printed}
    content = {"panels": PANELS, "window": entry["window"], "curves": curves, "paper": paper}
    return Shown(content, [run for curve in curves for run in curve["files"]])
