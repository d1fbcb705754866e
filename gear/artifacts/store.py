"""Calls of dvc and git: one for all files of a command, since each start of dvc costs a second."""

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from gear.files.aside import write
from gear.files.mistakes import Mistake
from gear.files.reading import read_text

REMOTE = "storage"
PLUGINS = {"s3": "dvc_s3", "gs": "dvc_gs", "ssh": "dvc_ssh"}
CURES = {  # what dvc says: what to do
    "no space left": "free some space and run the same command again",
    "neither locally": "pull them from where they are, or make them, then save",
    "unsupported url": "name a folder, s3://bucket/path, gs://bucket/path or ssh://me@host/path",
    "acquire lock": "wait for the other dvc to end and run the same command again",
    "permission denied|read-only|not a directory|access denied|forbidden": "check that you may "
    "read and write there, or name another remote: gear artifacts remote URL",
}


def run(command, lines=()):
    """(exit status, stdout, stderr) of a command, with `lines` as its input."""
    text = "\n".join(lines) + "\n" if lines else ""
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def git(*arguments, lines=()):
    """What git prints. Mistake with git's own sentence where it fails."""
    status, printed, error = run(["git", *arguments], lines)
    if status:
        raise Mistake(f"git {arguments[0]} failed: {error.strip().splitlines()[-1]}")
    return printed


def dvc(*arguments):
    """What dvc prints. Mistake with dvc's reason and its cure where it fails."""
    status, printed, error = run([sys.executable, "-m", "dvc", *arguments])
    if status or "Missing cache files" in error:  # of which `dvc push` only warns
        said = re.search(r"(?:ERROR|WARNING): (.*?)(?: - <http|$)", error, re.MULTILINE)
        reason = (said.group(1) if said else error.strip()[-300:]).rstrip(". ")
        reason = reason.removesuffix("Missing cache files:").rstrip(". ")
        cure = next((c for words, c in CURES.items() if re.search(words, error, re.I)), None)
        cure = cure or "nothing was lost; run the same command again"
        raise Mistake(f"dvc {arguments[0]} failed: {reason}; {cure}.")
    return printed


def outs(file):
    """{path: entry with md5, size, ...} of what a .dvc file keeps; {} where there is none."""
    if not Path(file).exists():
        return {}
    entries = yaml.safe_load(read_text(file))["outs"]
    return {os.path.join(os.path.dirname(file), entry["path"]): entry for entry in entries}


def _write_outs(file, entries):
    if entries:
        write(file, yaml.safe_dump({"outs": entries}, sort_keys=False, allow_unicode=True))
    else:
        Path(file).unlink(missing_ok=True)


def commit(kept):
    """Have dvc take files into its cache. kept: {.dvc file: paths, relative to the repository}.

    Paths that are absent keep their entry. A .dvc file is as it was where dvc fails."""
    kept = {file: paths for file, paths in kept.items() if any(map(os.path.exists, paths))}
    if not kept:  # dvc would take it for everything
        return
    before = {file: outs(file) for file in kept}
    absent = {f: [before[f][p] for p in ps if not os.path.exists(p)] for f, ps in kept.items()}
    try:
        for file, paths in kept.items():
            here = [p for p in paths if os.path.exists(p)]
            relative = [os.path.relpath(p, os.path.dirname(file) or ".") for p in here]
            _write_outs(file, [{"path": path} for path in relative])
        dvc("commit", "--force", *kept)
    except BaseException:
        for file, entries in before.items():
            _write_outs(file, list(entries.values()))
        raise
    for file, entries in absent.items():
        if entries:
            _write_outs(file, [*outs(file).values(), *entries])


def set_remote(url):
    """Where push and pull go, in .dvc/config.local, which git ignores; a folder is made.

    Mistake: no URL, one without its plug-in, a folder in here or one that cannot be made."""
    scheme, slashes, _ = url.partition("://")
    if not slashes:
        _make_folder(url)
    elif scheme in PLUGINS and importlib.util.find_spec(PLUGINS[scheme]) is None:
        plugin = PLUGINS[scheme].replace("_", "-")
        raise Mistake(
            f"dvc needs its plug-in for {scheme}:// remotes; install it first: "
            f"python -m pip install {plugin}"
        )
    dvc("remote", "add", "--local", "--default", "--force", REMOTE, url)
    # a damaged object is then refused, not handed out
    dvc("remote", "modify", "--local", REMOTE, "verify", "true")


def _make_folder(path):
    """The folder of a remote. Mistake: no name, in the repository, a URL with one slash."""
    inside = Path(path).resolve().is_relative_to(Path.cwd())
    if not path.strip() or inside or re.match(r"\w+:/", path):
        raise Mistake(
            f"'{path}' is no folder for a remote; name one outside this repository, or "
            "s3://bucket/path, gs://bucket/path, ssh://me@host/path."
        )
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Mistake(
            f"the folder {path} cannot be made ({error.strerror}); name another."
        ) from None


def remote():
    """The default remote's name, or None."""
    status, printed, _ = run([sys.executable, "-m", "dvc", "config", "core.remote"])
    return None if status else printed.strip()


def _cache():
    return Path(dvc("cache", "dir").strip()) / "files" / "md5"


def missing(files):
    """The paths in .dvc files whose object the cache lacks."""
    cache = _cache()
    entries = [(path, entry["md5"]) for file in files for path, entry in outs(file).items()]
    return [path for path, md5 in entries if not (cache / md5[:2] / md5[2:]).exists()]


def changed_data(file):
    """The data sets that are not what a .dvc file says. Unlike `dvc status`, without the cache."""
    for path, entry in outs(file).items():
        files = [p for p in Path(path).rglob("*") if p.is_file() and not p.name.startswith(".")]
        listed = [{"md5": _md5(p), "relpath": p.relative_to(path).as_posix()} for p in files]
        listed.sort(key=lambda item: item["relpath"])
        found = hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest()
        if files and f"{found}.dir" != entry["md5"]:
            yield path


def faults(files):
    """[(path, cache object, 'missing' | 'damaged')] of what .dvc files keep.

    Missing counts where the file is there: what was not pulled is no fault, nor is an absent data
    set, which a rule makes."""
    cache = _cache()
    entries = [(path, entry["md5"]) for file in files for path, entry in outs(file).items()]
    for path, md5 in entries:  # grows while it is read
        kept = cache / md5[:2] / md5[2:]
        if not kept.exists():
            if os.path.isfile(path):
                yield path, kept, "missing"
        elif _md5(kept) != md5.removesuffix(".dir"):
            yield path, kept, "damaged"
        elif md5.endswith(".dir"):
            for child in json.loads(kept.read_bytes()):
                entries.append((f"{path}/{child['relpath']}", child["md5"]))


def _md5(file):
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()
