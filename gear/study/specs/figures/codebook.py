"""How the codes are used over the joint training, with tokenizers that were trained alone."""

from typing import Annotated

from pydantic import Field

from gear.study.models import shown
from gear.study.models.base import Checkpoint
from gear.study.needs import Need
from gear.study.specs.figure import Shown


class Entry(shown.Figure):
    runs: Annotated[dict[str, str], Field(min_length=1)]
    reference: dict[str, Checkpoint] = {}


def _curve(study, label, name, where):
    """A run's curve: the curves.csv of its last milestone holds all of it."""
    steps = study.run(name, where).steps
    file = Need("curves", study.shown(name, [*steps][-1], where))
    return {"label": label, "run": name, "milestones": dict(steps), "file": file}


def _reference(study, label, reference, where):
    """A tokenizer that stands beside the curves as one value."""
    checkpoint = study.at(reference, where)
    file = Need("validation", study.tokenizer_of(checkpoint))
    return {"label": label, "run": checkpoint.run, "step": checkpoint.milestone, "file": file}


def spec(study, entry, where):
    curves = [_curve(study, label, run, where) for label, run in entry["runs"].items()]
    references = entry.get("reference") or {}
    first = study.runs[curves[0]["run"]].settings
    content = {
        "curves": curves,
        "references": [_reference(study, label, run, where) for label, run in references.items()],
        "codes": first.tokenizer.codebook_size,
        "temperature": first.joint.temperature,
    }
    return Shown(content, list(entry["runs"].values()))
