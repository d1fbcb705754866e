"""The training states of a run: their settings, and the newest undamaged state.

`<run>/latest.pt` is saved every few minutes, at SIGTERM and before the end of the job's time. The
state before it stays as `<run>/previous.pt`, so a damaged file costs minutes of training and not
the run. `<run>/state/<step>.pt` is the state of a milestone. All states are written to a temporary
file first and have checksums. They are not declared to Snakemake, because Snakemake deletes the
declared outputs of a failed job.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

import torch

from gear import config
from gear.files.aside import aside
from gear.files.mistakes import Mistake
from gear.files.reading import required
from gear.runtime import checkpoint


def identity(settings, inputs=()):
    """{setting: value, 'inputs': hashes}: must be equal in state and job.

    Only settings that differ from the defaults are included. A state that was saved before a new
    setting existed therefore stays valid."""
    changed = config.difference(settings)
    values = {name: value for name, value in changed.items() if name not in config.FREE}
    values["runtime.kernels"] = settings.kernels
    if settings.kernels == "reference":  # states from before the setting existed have no form
        del values["runtime.kernels"]
    if config.DEFAULTS != FIRST:  # states of the first defaults have no number
        values["defaults"] = config.DEFAULTS
    return json.loads(json.dumps(values | {"inputs": sorted(inputs)}))


FIRST = 1  # number of the defaults of a state that states no number
DEFAULTS = json.loads(json.dumps(config.flatten(dataclasses.asdict(config.Settings()))))
DEFAULTS |= {"defaults": FIRST, "runtime.kernels": "reference"}


def require_same(stored, mine, path, cure):
    """Mistake: a state has other settings or inputs than this job."""
    for name in sorted(stored.keys() | mine.keys()):
        old, new = (values.get(name, DEFAULTS.get(name)) for values in (stored, mine))
        if old != new:
            reason = f"with {name} {old!r}, this run has {new!r}"
            if name == "inputs":
                reason = (
                    "on other inputs: the data, the tokenizer, the teacher or the text encoder has "
                    "changed since"
                )
            if name == "defaults":
                reason = f"with number {old} of the defaults in gear/config.py, now it is {new}"
            raise Mistake(f"{path} was trained {reason}; {cure}.")


STATUSES = ("running", "finished", "diverged")
FORM = {  # entry of a state: its type
    "trainer": dict,
    "identity": str,
    "step": int,
    "history": str,
    "window": list,
    "status": str,
    "seen": dict,
    "spent": dict,
}


def load(path):
    """The training state of a file. Mistake: it is damaged, or no state of this program's."""
    state, cure = checkpoint.load_state(path), "delete it and run again"
    if not isinstance(state, dict):
        raise Mistake(f"{path} is no training state but a {type(state).__name__}; {cure}.")
    for name, kind in FORM.items():
        required(state, name, kind, path, cure)
    for name, kind in (("identity", dict), ("history", list)):
        try:
            fits = isinstance(json.loads(state[name]), kind)
        except (ValueError, RecursionError):
            fits = False
        if not fits:
            raise Mistake(f"{path} is no training state, its {name} is damaged; {cure}.")
    if state["step"] < 0 or state["status"] not in STATUSES:
        raise Mistake(f"{path} is no training state, its step or status is damaged; {cure}.")
    _require_entries(state, path, cure)
    return state


def _require_entries(state, path, cure):
    """Mistake unless the entries of a state hold what their reader takes."""
    for name in ("modules", "averages", "optimizers"):
        required(state["trainer"], name, dict, path, cure)
    for name in ("wall_s", "cpu_s", "attempts"):
        required(state["spent"], name, int | float, path, cure)
    history = json.loads(state["history"])
    if not all(isinstance(row, dict) and isinstance(row.get("step"), int) for row in history):
        raise Mistake(f"{path} is no training state, its history is damaged; {cure}.")
    if not all(
        isinstance(metrics, dict) and all(isinstance(v, torch.Tensor) for v in metrics.values())
        for metrics in state["window"]
    ):
        raise Mistake(f"{path} is no training state, its window is damaged; {cure}.")


class States:
    """The states in one run's folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.latest, self.previous = self.folder / "latest.pt", self.folder / "previous.pt"

    def milestone(self, step):
        """The path of a milestone's state."""
        return self.folder / "state" / f"{step}.pt"

    def save_latest(self, state):
        """Save the latest state; the old one becomes `previous`."""
        with aside(self.latest) as part:
            checkpoint.write_state(part, state)
            if self.latest.exists():
                os.replace(self.latest, self.previous)

    def sweep(self):
        """Remove temporary files of a killed trainer. The caller must hold the run's lock."""
        for part in self.folder.rglob(".*.part"):
            part.unlink(missing_ok=True)

    def last(self, start):
        """The newest state's path, or a text without state, for a message."""
        paths = [p for p in (self.latest, self.previous) if p.exists()]
        if not paths and start:
            paths = [self.milestone(start)]
        return paths[0] if paths else "the one before its first step"

    def forget(self):
        """Delete the latest states, once the milestone is written."""
        for path in (self.latest, self.previous):
            path.unlink(missing_ok=True)

    def newest(self, mine, start, stop):
        """(state, its path) to resume between `start` and `stop`, or (None, None).

        A damaged latest state is skipped with a warning. Mistake: a state has other settings or
        inputs, or the milestone at `start` is missing or damaged."""
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
                    "this job would make again; keep the finished milestones (snakemake --touch), "
                    "or delete it to train them again."
                )
            if start <= state["step"]:
                cure = f"set it back, or delete {self.latest} and {self.previous} to train it again"
                require_same(json.loads(state["identity"]), mine, path, cure)
                return state, path
        if not start:
            return None, None
        path = self.milestone(start)
        state = load(path)
        cure = f"set it back, or delete the step folders of {self.folder} to train the run again"
        require_same(json.loads(state["identity"]), mine, path, cure)
        return state, path

    def _done(self, mine, stop):
        """The state of the milestone at `stop`, if this run has already reached it, else None.

        The milestone's files are then written again, because they may have been removed."""
        state = self._whole(self.milestone(stop))
        return state if state and json.loads(state["identity"]) == mine else None

    @staticmethod
    def _whole(path):
        """The state of a path; None if it is missing, or, with a warning, damaged."""
        if not path.exists():
            return None
        if path.is_dir():
            raise Mistake(f"{path} is a folder, where a training state belongs; move it away.")
        try:
            return load(path)
        except Mistake as error:
            print(f"warning: {error}", file=sys.stderr)
            return None
