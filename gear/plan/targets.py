"""The runs that a target needs, and the files that its tables and figures read."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from gear.artifacts.units import FROM_GIT, checked_jobs, record_file, unit_of
from gear.files.reading import read_record
from gear.study.needs import Need
from gear.study.specs.tables import inputs


@dataclass(frozen=True)
class Wanted:
    """The needs of a target.

    runs: {run: its last milestone} in the registry's order, including the runs whose tokenizers
    other runs start from. needs: each Need once, sorted, including samples that are only scored."""

    runs: dict
    needs: list

    def of(self, *kinds):
        """The needs of these kinds."""
        return [need for need in self.needs if need.kind in kinds]


def wanted(study, target="all"):
    """The Wanted of a target. Mistake: the study has no such target."""
    needs = {need for spec in study.specs(target) for need in inputs(spec)}
    needs |= {need.other("samples") for need in needs if need.kind in ("scores", "decoded")}
    runs = {}
    for need in needs:
        _train(study, runs, need.checkpoint)
    return Wanted({name: runs[name] for name in study.runs if name in runs}, sorted(needs))


def _train(study, runs, checkpoint):
    """Add a run up to a milestone, and the runs whose tokenizers it starts from."""
    name, run = checkpoint.run, study.runs[checkpoint.run]
    order = list(run.steps)
    runs[name] = max(runs.get(name, order[0]), checkpoint.milestone, key=order.index)
    if run.tokenizer:
        _train(study, runs, run.tokenizer)


def is_made(study, checkpoint):
    """Whether a milestone is finished or was saved; its settings are not compared."""
    return Path(study.root, Need("record", checkpoint)).is_file()


def lies(path):
    """Whether a file exists or was saved.

    A saved file is named by the record of its run, or in older results by that of its folder."""
    if Path(path).is_file():
        return True
    files = [record_file(name) for name in (unit_of(path), str(Path(path).parent))]
    records = {file: read_record(file, FROM_GIT) for file in files if file.is_file()}
    jobs = [checked_jobs(record, file) for file, record in records.items() if "jobs" in record]
    return any(path in job["outputs"] for job in itertools.chain(*jobs))
