"""The spec of one figure; see gear/study/specs/tables.py."""

from dataclasses import dataclass
from importlib import import_module

from gear.files.mistakes import Mistake
from gear.study.needs import Need
from gear.study.specs import figures
from gear.study.specs.world import named, pick, protocol_name, world
from gear.study.vocabulary import metric


@dataclass(frozen=True)
class Shown:
    """The content of a figure of one kind.

    content: the kind's part of the spec, as data for JSON; runs: names of the runs; blocks: blocks
    of the metrics."""

    content: dict
    runs: list
    blocks: frozenset = frozenset()
    samplers: tuple = ()


def of_samples(study, entry, where):
    """(block, {metric, protocol}) of a figure of one metric of samples.

    Mistake: the metric is no metric of samples."""
    block = metric(entry["metric"], where).block
    if block != "generation":
        raise Mistake(f"{where}: '{entry['metric']}' is no metric of samples; choose gfid.")
    return block, {"metric": entry["metric"], "protocol": protocol_name(study, block)}


def row_of(study, label, checkpoint, kind, sampler=""):
    """A row of a figure that shows one file of a checkpoint; kind: of the Need."""
    row = {"label": label, "seed": study.runs[checkpoint.run].settings.seed}
    return row | named(study, checkpoint) | {"file": Need(kind, checkpoint, sampler)}


def rows(study, entry, where, kind, sampler=""):
    """The Shown of a figure with a row for each checkpoint; kind: of the row's file."""
    shown = {label: study.at(reference, where) for label, reference in entry["rows"].items()}
    content = [row_of(study, label, each, kind, sampler) for label, each in shown.items()]
    samplers = (sampler,) if sampler else ()
    return Shown({"rows": content}, [each.run for each in shown.values()], samplers=samplers)


def figure_spec(study, name):
    """All that the figure's job needs, as data for JSON. Mistake: a name does not exist."""
    entry, where = pick(study, "figure", name), f"figures.yaml, {name}"
    for sampler in (*entry.get("samplers", ()), *filter(None, [entry.get("sampler")])):
        study.sampler(sampler, where)
    shown = import_module(f"{figures.__name__}.{entry['kind']}").spec(study, entry, where)
    head = {
        "name": name,
        "kind": entry["kind"],
        "title": entry["title"],
        "reading": entry.get("reading", ""),
        "paper_figure": entry.get("paper"),
    }
    return head | shown.content | world(study, shown.runs, shown.blocks, shown.samplers)
