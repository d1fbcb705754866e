"""What failed jobs said, in one line each, below Snakemake's own words on them."""

import re
import shlex
import sys
from pathlib import Path

LOCAL = re.compile(r"2>&1 \| tee (.+?)' (?:returned non-zero|died with)")  # of a shell command
QUEUED = re.compile(r"^ +log: (.+?) \(check log file", re.MULTILINE)


def logs(text):
    """The paths of the logs of the jobs that failed, each once, from Snakemake's own log."""
    local = [path for words in LOCAL.findall(text) for path in shlex.split(words)]
    queued = [path for paths in QUEUED.findall(text) for path in paths.split(", ")]
    return list(dict.fromkeys(local + queued))


def last_line(path):
    """The last line of a job's log, '' where there is none."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def report(snakemakes):
    """Print the last line of each failed job's log. snakemakes: the paths of Snakemake's own."""
    text = "".join(Path(log).read_text(encoding="utf-8", errors="replace") for log in snakemakes)
    for path in map(Path, logs(text)):
        print(f"gear: {path} ends with: {last_line(path) or 'nothing'}", file=sys.stderr)
    print("gear: what is finished stays; the same command goes on from here.", file=sys.stderr)
