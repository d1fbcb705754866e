"""What tables, figures and claims need: checkpoints, and files that are made of them."""

from dataclasses import dataclass

from gear.files.mistakes import Mistake

FILES = {  # kind of a need: its file below the study's root, as the rules write it
    "record": "{checkpoint}/run.json",
    "curves": "{checkpoint}/curves.csv",
    "validation": "metrics/{checkpoint}/validation.json",
    "scores": "metrics/{checkpoint}/{sampler}.json",
    "analysis": "analysis/{checkpoint}.json",
    "samples": "samples/{checkpoint}/{sampler}.npz",
    "decoded": "samples/{checkpoint}/{sampler}.pictures.npz",  # pictures of some of the samples
    "pictures": "samples/{checkpoint}/pictures.npz",  # and of some validation images
}


def split(reference, where):
    """(run, milestone) of `run@milestone`, the form that all of config/ has."""
    run, _, milestone = str(reference).partition("@")
    if not milestone:
        raise Mistake(f"{where}: '{reference}' names no step; write it as run@step.")
    return run, milestone


@dataclass(frozen=True, order=True)
class Checkpoint:
    """A run at one of its milestones."""

    stage: str
    run: str
    milestone: str

    @classmethod
    def of(cls, path):
        """The checkpoint of a path as in `path`, which is a wildcard of rules."""
        return cls(*path.split("/"))

    @property
    def path(self):
        return f"{self.stage}/{self.run}/{self.milestone}"

    def __str__(self):
        return f"{self.run}@{self.milestone}"


class Need(str):
    """A file that is read, as its path below the study's root; in JSON it is that path alone.

    kind: of FILES; sampler: where the kind has one."""

    def __new__(cls, kind, checkpoint, sampler=""):
        need = super().__new__(cls, FILES[kind].format(checkpoint=checkpoint.path, sampler=sampler))
        need.kind, need.checkpoint, need.sampler = kind, checkpoint, sampler
        return need

    def other(self, kind):
        """The file of another kind of the same checkpoint and sampler."""
        return Need(kind, self.checkpoint, self.sampler)
