"""The training states of a run: whose settings they belong to, and the newest one that is whole.

`<run>/latest.pt` is saved every few minutes, at SIGTERM and before the end of the job's time; the
one before it stays as `<run>/previous.pt`, so that a file that a disk or a kill damaged costs
minutes and not the run. `<run>/state/<step>.pt` is a milestone's. All are written aside and carry
checksums. None is declared to Snakemake, which would remove it with a failed job.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

from gear import config
from gear.files.aside import aside
from gear.files.mistakes import Mistake
from gear.runtime import checkpoint


def identity(settings, inputs=()):
    """{setting: value, 'inputs': hashes}: what a state shares with the job that goes on from it.

    Settings that differ from the defaults, so that a setting which is new with a default keeps the
    states that were saved before it."""
    changed = config.difference(settings)
    values = {name: value for name, value in changed.items() if name not in config.FREE}
    if config.DEFAULTS != FIRST:  # states from before there was a number have none
        values["defaults"] = config.DEFAULTS
    return json.loads(json.dumps(values | {"inputs": sorted(inputs)}))


FIRST = 1  # number of the defaults that a state without a number was trained with
DEFAULTS = json.loads(json.dumps(config.flatten(dataclasses.asdict(config.Settings()))))
DEFAULTS["defaults"] = FIRST


def require_same(stored, mine, path, cure):
    """Mistake with both values of the first thing in which a state is another run's."""
    for name in sorted(stored.keys() | mine.keys()):
        old, new = (values.get(name, DEFAULTS.get(name)) for values in (stored, mine))
        if old != new:
            reason = f"with {name} {old!r}, this run has {new!r}"
            if name == "inputs":
                reason = "on other inputs: the data, the tokenizer or the teacher has changed since"
            if name == "defaults":
                reason = f"with number {old} of the defaults in gear/config.py, now it is {new}"
            raise Mistake(f"{path} was trained {reason}; {cure}.")


class States:
    """The states in one run's folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.latest, self.previous = self.folder / "latest.pt", self.folder / "previous.pt"

    def milestone(self, step):
        return self.folder / "state" / f"{step}.pt"

    def save_latest(self, state):
        """The latest state takes the place of the one before."""
        with aside(self.latest) as part:
            checkpoint.write_state(part, state)
            if self.latest.exists():
                os.replace(self.latest, self.previous)

    def sweep(self):
        """Remove what a killed trainer was writing; only with the run's lock held."""
        for part in self.folder.rglob(".*.part"):
            part.unlink(missing_ok=True)

    def last(self, start):
        """For people: the newest state's path, or where there is none, what a run starts from."""
        paths = [p for p in (self.latest, self.previous) if p.exists()]
        if not paths and start:
            paths = [self.milestone(start)]
        return paths[0] if paths else "the one before its first step"

    def forget(self):
        """The milestone is done: what led to it is of no more use."""
        for path in (self.latest, self.previous):
            path.unlink(missing_ok=True)

    def newest(self, mine, start, stop):
        """(state, its path) to go on from, of steps `start` to `stop`; (None, None): from nothing.

        A damaged latest state is passed over with a warning. Mistake: a state is of other
        settings or inputs, or the milestone at `start` is missing or damaged."""
        state = self._done(mine, stop)
        if state is not None:
            return state, self.milestone(stop)
        for path in (self.latest, self.previous):
            state = self._whole(path)
            if state is None:
                continue
            if state["step"] > stop:
                raise Mistake(
                    f"{path} is at step {state['step']}, beyond the milestone at step {stop} that "
                    "this job would make anew; keep the finished milestones (snakemake --touch), "
                    "or delete it to train them anew."
                )
            if start <= state["step"]:
                cure = f"set it back, or delete {self.latest} and {self.previous} to train it anew"
                require_same(json.loads(state["identity"]), mine, path, cure)
                return state, path
        if not start:
            return None, None
        path = self.milestone(start)
        state = checkpoint.load_state(path)
        cure = f"set it back, or delete the step folders of {self.folder} to train the run anew"
        require_same(json.loads(state["identity"]), mine, path, cure)
        return state, path

    def _done(self, mine, stop):
        """The state of the milestone at `stop`, if this very run has reached it: its files are
        written anew where a second copy of the job, or a hand, has removed them."""
        state = self._whole(self.milestone(stop))
        return state if state and json.loads(state["identity"]) == mine else None

    @staticmethod
    def _whole(path):
        """The state of a path; None, with a warning, where it is damaged, or where none is."""
        if not path.exists():
            return None
        try:
            return checkpoint.load_state(path)
        except Mistake as error:
            print(f"warning: {error}", file=sys.stderr)
            return None
