"""A metric of samples over the training, a curve for each run or for runs that go on."""

from typing import Annotated

from pydantic import Field

from gear.files.mistakes import Mistake, did_you_mean
from gear.study.models import shown
from gear.study.models.base import Entry as Mapping
from gear.study.models.base import Some
from gear.study.needs import Need
from gear.study.specs.figure import Shown, of_samples


class Curve(Mapping):
    label: str
    runs: Some
    baseline: str = ""


class Entry(shown.Figure):
    metric: shown.Metric
    sampler: str
    curves: Annotated[list[Curve], Field(min_length=1)]


def _points(study, first, curve, sampler, where):
    """A point for each milestone of the curve's first run, with the scores of all its runs."""
    for milestone, steps in first.steps.items():
        checkpoints = [study.shown(run, milestone, where) for run in curve["runs"]]
        files = {each.run: Need("scores", each, sampler) for each in checkpoints}
        yield {"step": milestone, "steps": steps, "files": files}


def spec(study, entry, where):
    block, content = of_samples(study, entry, where)
    labels, curves = [c["label"] for c in entry["curves"]], []
    for curve in entry["curves"]:
        if "baseline" in curve and curve["baseline"] not in labels:
            cure = did_you_mean(curve["baseline"], labels)
            raise Mistake(f"{where}: there is no curve '{curve['baseline']}'. {cure}")
        first = study.run(curve["runs"][0], where)
        curves.append(
            {
                "label": curve["label"],
                "stage": first.stage,
                "baseline": curve.get("baseline"),
                "points": list(_points(study, first, curve, entry["sampler"], where)),
            }
        )
    content |= {"sampler": entry["sampler"], "curves": curves}
    runs = [run for curve in entry["curves"] for run in curve["runs"]]
    return Shown(content, runs, frozenset({block}), (entry["sampler"],))
