"""A working copy of the repository, and the commands that a user types in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from forked import Forks

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = (".git", ".venv", ".snakemake", "data", "reproduced", "results", "__pycache__", "*.log")


class Checkout:
    """A working copy and its commands. warm: a socket's path, where the jobs of all runs have one
    warm process instead of one for each run."""

    forks, warm = Forks(), None

    def __init__(self, folder):
        self.folder = folder

    def environment(self):
        environment = dict(os.environ, PYTHONPATH=str(self.folder))
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        environment.pop("GEAR_STUDY", None)
        return environment | ({"GEAR_WARM": self.warm} if self.warm else {})

    def run(self, *command):
        """(exit status, what it printed) of a command."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    def forked(self, *arguments):
        """As `run("snakemake", ...)`, without the seconds of its import."""
        status, *texts = self.forks.snakemake(arguments, self.folder, self.environment())
        return status, "".join(texts)

    def snakemake(self, *arguments, study="smoke", results="results"):
        chosen = ("--config", f"study={study}", f"results={results}")
        profile = ("--workflow-profile", "workflow/profiles/local")
        return self.forked(*arguments, *profile, *chosen)

    def planned(self, *arguments, **chosen):
        """{rule: [output folders or files]} of a dry run."""
        status, text = self.snakemake("-n", *arguments, "--quiet", "host", **chosen)
        assert status == 0, text
        jobs, rule = {}, None
        for line in text.splitlines():
            words = line.split()
            if words and words[0] in ("rule", "localrule"):
                rule = words[1].rstrip(":")
            elif words and words[0] == "output:":
                jobs.setdefault(rule, []).append(words[1].rstrip(","))
        return jobs


def copy_of(source, folder):
    """A Checkout in `folder` with the files of `source`, symbolic links kept."""
    ignore = shutil.ignore_patterns(*LEFT_OUT)
    # gear/data is code; only the data folder at the top is left out
    shutil.copytree(
        source,
        folder,
        symlinks=True,
        ignore=lambda path, names: (
            set(ignore(path, names)) - ({"data", "results"} if Path(path) != source else set())
        ),
    )
    return Checkout(folder)
