"""Seconds that `gear artifacts` takes: save, push to a folder, pull in a fresh clone, and so on.

    python benchmarks/artifacts.py [--folder DIR] [--files 300] [--gigabytes 2]

makes one step folder with a file of 2 GB, then 300 step folders with files of 1 MB, in clones of
this repository below a temporary folder (DIR's disk is measured), and prints a Markdown table."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RULES = """
R = "results/bench/ar"


rule all:
    input:
        expand(f"{R}/{{run}}/100k/weights.safetensors", run=range(int(config["files"]))),


rule train:
    output:
        f"{R}/{{run}}/100k/weights.safetensors",
    shell:
        "head -c {config[size]} /dev/urandom > {output}"
"""


def run(folder, *command):
    """Seconds that a command takes in a clone, with that clone's code."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - start


def measure(top, files, size):
    """{action: seconds} for some files of `size` bytes each."""
    made, fresh, rules = top / "made", top / "fresh", top / "Snakefile"
    rules.write_text(RULES)
    run(top, "git", "clone", "--quiet", str(ROOT), str(made))
    config = ("--config", f"files={files}", f"size={size}")
    run(made, "snakemake", "--snakefile", str(rules), "--cores", "2", "--quiet", "all", *config)
    artifacts = ("gear", "artifacts")
    run(made, *artifacts, "remote", str(top / "remote"))
    seconds = {a: run(made, *artifacts, a, "results/bench") for a in ("save", "push")}
    user = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    run(made, "git", *user, "commit", "--quiet", "--message", "results")
    run(top, "git", "clone", "--quiet", str(made), str(fresh))
    run(fresh, *artifacts, "remote", str(top / "remote"))
    for action in ("pull", "restore", "status", "check"):
        seconds[action] = run(fresh, *artifacts, action, "results/bench")
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="on the disk to measure; default: the temporary folder")
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    args = parser.parse_args()
    cases = {
        f"one file of {args.gigabytes:g} GB": (1, int(args.gigabytes * 1e9)),
        f"{args.files} files of 1 MB": (args.files, 1_000_000),
    }
    print("| seconds | save | push | pull | restore | status | check |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, (files, size) in cases.items():
        with tempfile.TemporaryDirectory(dir=args.folder) as top:
            seconds = measure(Path(top), files, size)
        print("|", name, "|", " | ".join(f"{s:.1f}" for s in seconds.values()), "|", flush=True)


if __name__ == "__main__":
    main()
