"""How the codes are used over the joint training, and by the tokenizer that it starts from."""

from typing import Annotated

from pydantic import Field

from gear.files.mistakes import Mistake
from gear.study.models import shown
from gear.study.needs import Need
from gear.study.specs.figure import Shown


class Entry(shown.Figure):
    runs: Annotated[dict[str, str], Field(min_length=1)]
    start: str = ""  # what the tokenizer is called that all runs start from; "": it is not shown


def _curve(study, label, name, where):
    """A run's curve: the curves.csv of its last milestone holds all of it."""
    steps = study.run(name, where).steps
    file = Need("curves", study.shown(name, [*steps][-1], where))
    return {"label": label, "run": name, "milestones": dict(steps), "file": file}


def _one_start(study, names, where):
    """Mistake: the runs start from different tokenizers, which one line cannot show."""
    starts = {name: str(study.runs[name].tokenizer) for name in names}
    others = [name for name in names if starts[name] != starts[names[0]]]
    if others:
        raise Mistake(
            f"{where}: {others[0]} starts from {starts[others[0]]}, {names[0]} from "
            f"{starts[names[0]]}; leave `start` out, or show the runs in two figures."
        )


def spec(study, entry, where):
    curves = [_curve(study, label, run, where) for label, run in entry["runs"].items()]
    start = entry.get("start", "")
    if start:
        _one_start(study, list(entry["runs"].values()), where)
    first = study.runs[curves[0]["run"]].settings
    content = {
        "curves": curves,
        "start": start,
        "codes": first.tokenizer.codebook_size,
        "temperature": first.joint.temperature,
    }
    return Shown(content, list(entry["runs"].values()))
