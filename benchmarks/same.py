"""Whether a change moves any number: the smoke study, trained at two commits and compared.

    python benchmarks/same.py COMMIT [--study smoke]        (make same BASE=COMMIT)

The study is made twice from nothing, in temporary folders: with the code and config/ of COMMIT, and
with those of the working tree, uncommitted changes included. Compared are the bytes of all weights,
the arrays of all .npz files, all metrics and analyses, the curves, and the tables. Times and
provenance differ and are left out. The exit status is 1 where anything is different.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from hashlib import file_digest
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
COMPARED = ("*.safetensors", "*.npz", "*.csv", "metrics/**/*.json", "analysis/**/*.json")
LOCAL = ("--workflow-profile", "workflow/profiles/local")


def code_of(commit, folder):
    """The files of a commit in a new folder."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True)
    if archive.returncode:
        raise SystemExit(f"same: git knows no commit '{commit}'; name one of `git log`.")
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)


def code_here(folder):
    """The files of the working tree in a new folder, without results and data."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file() and not name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def made(folder, study):
    """The folder of the study's results, made in `folder` with the code that lies there."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(folder), "PATH": path}
    command = [sys.executable, "-m", "snakemake", "all", *LOCAL, "--config", f"study={study}"]
    command += ["results=made"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}\nsame: the study failed in {folder}.")
    return folder / "made" / study


def content(path):
    """What of a file must be equal."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: (arrays[name].dtype.str, arrays[name].tobytes()) for name in arrays}
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def compared(folder):
    """{path below the folder: its content} of all files that are compared."""
    files = {path for pattern in COMPARED for path in folder.rglob(pattern)}
    return {path.relative_to(folder).as_posix(): content(path) for path in files}


def main():
    parser = argparse.ArgumentParser(description="Train a study at two commits and compare.")
    parser.add_argument("commit", help="the commit that the working tree is compared with")
    parser.add_argument("--study", default="smoke", help="smoke takes minutes (default)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        base, here = Path(top, "base"), Path(top, "here")
        code_of(args.commit, base)
        code_here(here)
        theirs, ours = (compared(made(folder, args.study)) for folder in (base, here))
    names = sorted(ours.keys() | theirs.keys())
    different = [name for name in names if ours.get(name) != theirs.get(name)]
    for name in different[:20]:
        print(f"different: {name}" if name in ours and name in theirs else f"one side only: {name}")
    print(f"{len(ours)} files, {len(different)} of them different from {args.commit}")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
