"""The checkpoints that tables, figures and claims need, and the files made from them."""

from dataclasses import dataclass

from gear.files.mistakes import Mistake

FILES = {  # kind of a need: its file below the study's root; the rules write these paths
    "record": "{checkpoint}/run.json",
    "curves": "{checkpoint}/curves.csv",
    "validation": "metrics/{checkpoint}/validation.json",
    "scores": "metrics/{checkpoint}/{sampler}.json",
    "analysis": "analysis/{checkpoint}.json",
    "samples": "samples/{checkpoint}/{sampler}.npz",
    "decoded": "samples/{checkpoint}/{sampler}.pictures.npz",  # pictures of some samples
    "pictures": "samples/{checkpoint}/pictures.npz",  # of some validation images, or some prompts
}


ELSEWHERE = "scored"  # folder beside results/, for scores by the scorers of other projects


def place(root, path):
    """The path of a file of a spec: below the study's root, except for files in ELSEWHERE."""
    return path if path.startswith(f"{ELSEWHERE}/") else f"{root}/{path}"


def split(reference, where):
    """(run, milestone) of `run@milestone`. Mistake: the milestone is missing."""
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
        """The checkpoint of a `path`, which rules have as a wildcard."""
        return cls(*path.split("/"))

    @property
    def path(self):
        return f"{self.stage}/{self.run}/{self.milestone}"

    def __str__(self):
        return f"{self.run}@{self.milestone}"


class Need(str):
    """A file that a job reads: its path below the study's root. JSON keeps only the path.

    kind: a key of FILES; sampler: '' for kinds without one."""

    kind: str
    checkpoint: Checkpoint
    sampler: str

    def __new__(cls, kind, checkpoint, sampler=""):
        need = super().__new__(cls, FILES[kind].format(checkpoint=checkpoint.path, sampler=sampler))
        need.kind, need.checkpoint, need.sampler = kind, checkpoint, sampler
        return need

    def other(self, kind):
        """The file of another kind of the same checkpoint and sampler."""
        return Need(kind, self.checkpoint, self.sampler)


class Elsewhere(Need):
    """A file with one score by the scorer of another project; see `place`.

    sampler: the sampler whose guidance the pictures were drawn with."""

    def __new__(cls, study, checkpoint, metric, sampler, guidance):
        path = f"{ELSEWHERE}/{study}/{checkpoint.run}/{checkpoint.milestone}"
        need = str.__new__(cls, f"{path}/{metric}-cfg{guidance:g}.json")
        need.kind, need.checkpoint, need.sampler = "elsewhere", checkpoint, sampler
        return need
