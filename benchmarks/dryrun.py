"""CPU-seconds of a dry run of the paper's study, beside that of an empty Snakefile.

    python benchmarks/dryrun.py --rounds 5

Both run in turns, after one round that does not count. The difference is what this project adds to
Snakemake. The last line is one JSON object.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "snakemake", "--dry-run"]


def cpu_seconds(command, folder):
    """The user and system time of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--study", default="paper")
    parser.add_argument("--target", default="all_tables")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    ours = [*COMMAND, args.target, "--config", f"study={args.study}"]
    rounds = []
    with tempfile.TemporaryDirectory() as empty:
        Path(empty, "Snakefile").touch()
        for _ in range(args.rounds + 1):
            rounds.append((cpu_seconds(COMMAND, empty), cpu_seconds(ours, ROOT)))
    print("| empty Snakefile | this study | above |\n| ---: | ---: | ---: |")
    above = [study - nothing for nothing, study in rounds[1:]]
    for (nothing, study), more in zip(rounds[1:], above, strict=True):
        print(f"| {nothing:.2f} | {study:.2f} | {more:.2f} |")
    line = {"study": args.study, "target": args.target, "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(line | {"above": round(statistics.median(above), 2), "rounds": args.rounds}))


if __name__ == "__main__":
    main()
