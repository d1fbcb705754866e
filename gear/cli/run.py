"""`gear run`: the Snakemake command of a target, printed and executed.

The command stays Snakemake's own: `gear run` only puts its parts in the order that Snakemake needs.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from gear.files.mistakes import Mistake
from gear.study.registry import Study

LOCAL = ("--workflow-profile", "workflow/profiles/local")
CLUSTER = ("--profile", "slurm")


def command(targets, study, results="results", cluster=False, dry=False):
    """The words of the command. --config takes every word that follows, so it stands last."""
    words = ["snakemake", *targets, *(CLUSTER if cluster else LOCAL)]
    words += ["-n", "--quiet", "rules"] if dry else []
    return [*words, "--config", f"study={study}", f"results={results}"]


def jobs(text):
    """[(rule, number of jobs)] of what a dry run of Snakemake prints, without the total."""
    stats = text.rpartition("Job stats:")[2]
    return [(rule, int(count)) for rule, count in re.findall(r"^(\w+) +(\d+)$", stats, re.M)][:-1]


def _environment():
    """With the programs of this Python first on the PATH, where Snakemake and its jobs are."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}


def _dry(words):
    done = subprocess.run(words, capture_output=True, text=True, env=_environment())
    if done.returncode:
        text = done.stdout + done.stderr
        sentences = [line for line in text.splitlines() if line.startswith("gear: ")]
        print(sentences[-1] if sentences else text, file=sys.stderr)
        return done.returncode
    planned = jobs(done.stdout)
    for rule, count in planned:
        print(f"{count:7,}  {rule}")
    print(f"{sum(count for _, count in planned):7,}  jobs" if planned else "nothing to be done")
    return 0


def _execute(words):
    """Snakemake's exit status. It has the terminal's Ctrl-C itself, and ends by it in its own way;
    a signal that ends this process is passed on."""
    with subprocess.Popen(words, env=_environment()) as process:
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            while True:
                with contextlib.suppress(KeyboardInterrupt):
                    return process.wait()
        finally:
            signal.signal(signal.SIGTERM, before)


def main(targets, study, results="results", cluster=False, dry=False):
    """Print the command, execute it, and say where the page of the results is.

    A target `run@step` stands for that checkpoint. dry: print how many jobs each rule has instead.
    Returns the exit status. Mistake outside the repository's top folder."""
    if not Path("Snakefile").is_file():
        raise Mistake("gear run works in the repository's top folder; go there first.")
    chosen = Study(study, results)
    single = {target: chosen.file_of(target) for target in targets if "@" in target}
    words = command([single.get(t, t) for t in targets], study, results, cluster, dry)
    print(shlex.join(words), flush=True)
    if dry:
        return _dry(words)
    status = _execute(words)
    if status == 0:
        for target, file in single.items():
            print(f"{target}: {Path(file).parent}")
        print(_page(Path(results, study)))
    elif any(Path(".snakemake/locks").glob("*")):
        unlock = shlex.join(["snakemake", "--unlock", *words[words.index("--config") :]])
        print(f"gear: if no other run works in this folder: {unlock}", file=sys.stderr)
    return status


def _page(folder):
    """The line that says where the page of results is, or why there is none."""
    from gear.report import page

    try:
        return page.said(folder)
    except Mistake as error:  # of what was asked for nothing is missing
        return f"no page of results: {error}"
