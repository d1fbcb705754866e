"""Calls of dvc and git. One call has all files, because each start of dvc takes a second."""

import hashlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from gear.artifacts.units import require_inside
from gear.files.aside import write
from gear.files.mistakes import Mistake
from gear.files.reading import required
from gear.study.configfiles import read_yaml

REMOTE = "storage"
KEYS = ("outs", "md5", "meta", "desc")  # of a .dvc file
CURE = "take the file from git (git checkout -- FILE)"
PLUGINS = {"s3": "dvc_s3", "gs": "dvc_gs", "ssh": "dvc_ssh"}
CURES = {  # words of dvc's error: the cure
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
    result = subprocess.run(command, input=text, capture_output=True, text=True)
    return result.returncode, result.stdout, result.stderr


def git(*arguments, lines=()):
    """The output of git. Mistake: git failed; the sentence is git's."""
    status, printed, error = run(["git", *arguments], lines)
    if status:
        raise Mistake(f"git {arguments[0]} failed: {error.strip().splitlines()[-1]}")
    return printed


def dvc(*arguments):
    """The output of dvc. Mistake: dvc failed; the sentence has dvc's reason and a cure."""
    status, printed, error = run([sys.executable, "-m", "dvc", *arguments])
    if status or "Missing cache files" in error:  # `dvc push` only warns of these
        line = re.search(r"(?:ERROR|WARNING): (.*?)(?: - <http|$)", error, re.MULTILINE)
        reason = (line.group(1) if line else error.strip()[-300:]).rstrip(". ")
        reason = reason.removesuffix("Missing cache files:").rstrip(". ")
        cure = next((c for words, c in CURES.items() if re.search(words, error, re.I)), None)
        cure = cure or "nothing was lost; run the same command again"
        raise Mistake(f"dvc {arguments[0]} failed: {reason}; {cure}.")
    return printed


def outs(file):
    """{path: entry with md5, size, ...} of a .dvc file; {} if the file does not exist.

    Mistake: it asks for more than outputs of its unit."""
    if not Path(file).exists():
        return {}
    folder, content = os.path.dirname(file), read_yaml(file)
    content = content if isinstance(content, dict) else {}
    for key in content:
        if key not in KEYS:  # `wdir` moves the paths, `deps` downloads from anywhere
            raise Mistake(
                f"{file} has '{key}', which no file of ours has; take the file from a source that "
                "you trust."
            )
    entries = {}
    for entry in required(content, "outs", list, file, CURE):
        entry = entry if isinstance(entry, dict) else {}
        path = required(entry, "path", str, file, CURE)
        if entry.keys() & {"md5", "size"}:  # DVC itself writes entries without them
            if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", required(entry, "md5", str, file, CURE)):
                raise Mistake(f"{file}: {entry['md5']!r} is no md5; {CURE}.")
            required(entry, "size", int, file, CURE)
        absolute = os.path.isabs(path)
        entries[path if absolute else os.path.normpath(os.path.join(folder, path))] = entry
    require_inside(entries, str(file).removesuffix(".dvc"), file)
    return entries


def commit(kept):
    """Put files into dvc's cache and write the .dvc files.

    kept: {.dvc file: (existing paths, {path: entry} of other files, which keep their entry)}, with
    paths relative to the repository. If dvc fails, the .dvc files are as before."""
    before = {file: Path(file).read_bytes() for file in kept if Path(file).exists()}
    fresh = [file for file, (here, _) in kept.items() if here]
    try:
        for file in fresh:
            _write_outs(file, {path: {} for path in kept[file][0]})
        if fresh:  # without a name dvc would commit all .dvc files
            dvc("commit", "--force", *fresh)
        for file, (here, others) in kept.items():
            now = outs(file)
            entries = {path: now[path] for path in here} | others
            if entries != now:
                _write_outs(file, entries)
    except BaseException:
        for file in kept:
            if file in before:
                write(file, before[file])
            else:
                Path(file).unlink(missing_ok=True)
        raise


def _write_outs(file, entries):
    """Write a .dvc file, or delete it if there are no entries.

    entries: {path relative to the repository: {md5, ...}}."""
    folder = os.path.dirname(file) or "."
    listed = []
    for path in sorted(entries):
        relative = os.path.relpath(path, folder)
        listed.append({"path": relative} | {k: v for k, v in entries[path].items() if k != "path"})
    if listed:
        write(file, yaml.safe_dump({"outs": listed}, sort_keys=False, allow_unicode=True))
    else:
        Path(file).unlink(missing_ok=True)


def set_remote(url):
    """Set the remote of push and pull in .dvc/config.local, which git ignores.

    A folder is created. Mistake: the URL is not valid or needs a plug-in that is not installed; the
    folder is inside the repository or cannot be created."""
    if not url.isascii():
        odd = next(sign for sign in url if not sign.isascii())
        raise Mistake(f"{url} holds '{odd}', and DVC keeps remotes in ASCII; name another.")
    scheme, slashes, _ = url.partition("://")
    if slashes and scheme not in PLUGINS:
        raise Mistake(
            f"{url} is of a kind that nothing can be pushed to here; name a folder, "
            "s3://bucket/path, gs://bucket/path or ssh://me@host/path."
        )
    if not slashes:
        _make_folder(url)
    elif scheme in PLUGINS and importlib.util.find_spec(PLUGINS[scheme]) is None:
        plugin = PLUGINS[scheme].replace("_", "-")
        raise Mistake(
            f"dvc needs its plug-in for {scheme}:// remotes; install it first: "
            f"python -m pip install {plugin}"
        )
    dvc("remote", "add", "--local", "--default", "--force", REMOTE, url)
    # with verify, dvc refuses a damaged object
    dvc("remote", "modify", "--local", REMOTE, "verify", "true")


def _make_folder(path):
    """Create the folder of a remote. Mistake: the path is not valid or cannot be created."""
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
    """The URL of the default remote, or None."""
    status, printed, _ = run([sys.executable, "-m", "dvc", "config", "--list"])
    values = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    return None if status else values.get(f"remote.{values.get('core.remote')}.url")


def require_remote(url):
    """Mistake: no remote is set, or its folder is gone; dvc would make it anew and say nothing."""
    if not url:
        raise Mistake("no remote is set; name one first: gear artifacts remote URL")
    if "://" not in url and not os.path.isdir(url):
        raise Mistake(
            f"the remote {url} is not there; mount its disk, or begin an empty one: gear artifacts "
            f"remote {shlex.quote(url)}"
        )


def changed_data(paths):
    """The data sets that exist and differ from data.dvc. The cache is not needed."""
    from dvc.repo import Repo

    with Repo() as repo:
        uncommitted = repo.data_status(paths)["uncommitted"]
    return [path.rstrip("/") for path in uncommitted.get("modified", ())]


def faults(entries):
    """Yield (path, cache object, 'missing' or 'damaged') for the entries of .dvc files.

    entries: {path: entry}. An object is missing only if its file exists here: a file that was not
    pulled is no fault. Nor is an absent data set, because a rule makes it."""
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    with Repo() as repo:
        cache = repo.cache.local
        for path, entry in entries.items():
            fault = _fault(cache, path, entry["md5"])
            if fault:
                yield fault
            elif entry["md5"].endswith(".dir") and cache.exists(entry["md5"]):
                for names, _, child in Tree.load(cache, HashInfo("md5", entry["md5"])):
                    fault = _fault(cache, "/".join((path, *names)), child.value)
                    if fault:
                        yield fault


def _fault(cache, path, md5):
    cached = cache.oid_to_path(md5)
    if not os.path.exists(cached):
        return (path, cached, "missing") if os.path.isfile(path) else None
    with open(cached, "rb") as handle:
        sound = hashlib.file_digest(handle, "md5").hexdigest() == md5.removesuffix(".dir")
    return None if sound else (path, cached, "damaged")


def missing(entries):
    """The paths, of {path: entry}, whose object is not in the cache."""
    from dvc.repo import Repo

    with Repo() as repo:
        return [p for p, entry in entries.items() if not repo.cache.local.exists(entry["md5"])]
