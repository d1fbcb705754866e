"""Units of results, their records, and the content of files.

A record is {"jobs": [{rule, code, params, software, seconds, inputs: {path: sha256}, outputs:
{path: sha256}, accepted: see accepted.py}]} for the outputs of its unit. Paths are relative to the
repository, where all commands run. An older record covers one folder of a run. It is read in the
same way, and `save` replaces it.
"""

import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from os.path import dirname
from pathlib import Path

from gear.artifacts import records
from gear.files.aside import write
from gear.files.hashes import sha256
from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_record, required
from gear.study.stages import STAGES

DATA = "data"  # one unit; its large files are whole data sets: data.dvc
LARGE = (".safetensors", ".npz", ".npy", ".gz")  # as in .gitignore
INDEX = "README.md"  # of a study's results
PAGE = ".html"  # a table's page for Snakemake's report; in neither git nor DVC
NO_LINK = (
    "put a real folder there: clone the repository onto the large disk, mount that disk at this "
    "place (mount --bind), or keep DVC's cache there (dvc cache dir)"
)
FROM_GIT = "take it from git (git checkout -- FILE)"
SHA256 = re.compile("[0-9a-f]{64}")
JOB = {  # entry of a job: its type
    "rule": str,
    "code": str | None,
    "params": list,
    "software": str | None,
    "seconds": int | float,
    "inputs": dict,
    "outputs": dict,
}
ACCEPTED = {"code", "made_with", "accepted"}
OF_A_RUN = re.compile(
    rf"(.+?)/(?:(?:samples|metrics|analysis)/)?((?:{'|'.join(STAGES)})/[^/]+)/[0-9]+k[./]"
)


def unit_of(path):
    """The unit whose record names this output.

    It is all data, a run with its samples, scores and analyses, or the file's folder."""
    if path.startswith(f"{DATA}/"):
        return DATA
    run, folder = OF_A_RUN.match(path), dirname(path)
    if path == f"{folder}/{INDEX}":
        return f"{folder}/index"
    return "/".join(run.groups()) if run else folder


def require_inside(paths, name, file):
    """Mistake: a path that a file of a unit lists is not one of that unit's outputs.

    Such a file may come from someone else. Its paths are read, written and touched."""
    for path in paths:
        plain = isinstance(path, str) and path == os.path.normpath(path) and path[:1] != "/"
        inside = plain and path.split("/")[0] != ".." and name in (unit_of(path), dirname(path))
        if not inside:
            raise Mistake(
                f"{file} lists '{path}', which is no output of {name}; take the file from a source "
                "that you trust, or delete that entry."
            )


def large(paths):
    """The paths that DVC keeps among some outputs: large files, and the folders of data sets."""
    return sorted({dirname(p) if unit_of(p) == DATA else p for p in paths if _is_large(p)})


def _is_large(path):
    return path.endswith(LARGE) or unit_of(path) == DATA


def cleaned(paths):
    """The user's prefixes, relative to the repository.

    Mistake: this is not the repository's top folder, or a path is no folder of results."""
    if not Path(".dvc").is_dir():
        raise Mistake("gear artifacts works in the repository's top folder; go there first.")
    if "" in paths:
        raise Mistake("an empty path names no folder of results; name one, such as results/demo.")
    prefixes = [os.path.relpath(path) for path in paths]
    for path in prefixes:
        if path.split(os.sep)[0] in (".", ".."):
            raise Mistake(f"'{path}' is no folder of results; name one, such as results/demo.")
        require_no_link(path)
    return prefixes


def require_no_link(path):
    """Mistake where a path of results leads through a symbolic link."""
    for place in (Path(path), *Path(path).parents):
        if place.is_symlink():
            raise Mistake(f"{place} is a link, and git and DVC do not go through links; {NO_LINK}.")


def under(path, prefixes):
    """Whether a path is one of the prefixes or lies below one."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)


def record_file(name):
    return Path(f"{name}.prov.json")


def checked_jobs(content, file):
    """The jobs of a record that was read from `file`. Mistake: it is damaged."""
    jobs = required(content, "jobs", list, file, FROM_GIT)
    for job in jobs:
        job = job if isinstance(job, dict) else {}
        for name, kind in JOB.items():
            required(job, name, kind, file, FROM_GIT)
        for path, sha in (*job["inputs"].items(), *job["outputs"].items()):
            if not (isinstance(sha, str) and SHA256.fullmatch(sha)):
                raise Mistake(f"{file}: the sha256 of {path} is {sha!r:.80}; {FROM_GIT}.")
        accepted = job.get("accepted", [])
        if not all(isinstance(text, str) for text in job["params"]) or not all(
            isinstance(entry, dict) and entry.keys() >= ACCEPTED
            for entry in (accepted if isinstance(accepted, list) else [None])
        ):
            raise Mistake(f"{file}: the params or `accepted` of a job are damaged; {FROM_GIT}.")
    return jobs


def write_record(name, jobs):
    text = json.dumps({"jobs": jobs}, indent=1, sort_keys=True, ensure_ascii=False)
    write(record_file(name), text + "\n")


class Saved:
    """All records in the top folders of the prefixes, and the record of the data.

    records: {name: jobs}; `<name>.prov.json` is the record, `<name>.dvc` names its large files."""

    def __init__(self, prefixes):
        self.records = {}
        tops = sorted({prefix.split("/")[0] for prefix in prefixes} - {DATA})
        files = [file for top in tops for file in sorted(Path(top).rglob("*.prov.json"))]
        for file in [*files, record_file(DATA)]:
            content = read_record(file, FROM_GIT) if file.exists() else {}
            if "jobs" in content:  # such a file of an older table has no jobs
                name = str(file).removesuffix(".prov.json")
                self.records[name] = checked_jobs(content, file)
                for job in self.records[name]:
                    require_inside(job["outputs"], name, file)
        self.jobs = [job for jobs in self.records.values() for job in jobs]
        self.job_of = {path: job for job in self.jobs for path in job["outputs"]}
        self.record_of = {}
        for name, jobs in self.records.items():
            self.record_of |= {path: name for job in jobs for path in job["outputs"]}

    def sha(self, path):
        return self.job_of[path]["outputs"][path] if path in self.job_of else None

    def chosen(self, prefixes, inputs=False):
        """The saved outputs under the prefixes, sorted; `inputs`: and all that they were made from.

        Mistake: nothing was saved under a prefix."""
        for prefix in prefixes:
            if not any(under(path, [prefix]) for path in self.job_of):
                names = sorted({str(f) for path in self.job_of for f in Path(path).parents})
                cure = did_you_mean(prefix, names) if names else "Save something first."
                raise Mistake(f"nothing was saved under '{prefix}'. {cure}")
        paths = {path for path in self.job_of if under(path, prefixes)}
        unvisited = set(paths) if inputs else set()
        while unvisited:
            sources = {p for path in unvisited for p in self.job_of[path]["inputs"]}
            unvisited = (sources & self.job_of.keys()) - paths
            paths |= unvisited
        return sorted(paths)


class Contents:
    """Cached sha256 of files. A file that is untouched since `restore` is not read again.

    thorough: read every file."""

    def __init__(self, saved, thorough=False):
        self.saved, self.thorough, self.known = saved, thorough, {}

    def read(self, paths):
        """Hash several files in parallel."""
        missing = [path for path in dict.fromkeys(paths) if path not in self.known]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self.known.update(zip(missing, pool.map(self._sha, missing), strict=True))

    def here(self, path):
        """The sha256 of a file, or None if it is absent."""
        if path not in self.known:
            self.read([path])
        return self.known[path]

    def now(self, path):
        """The sha256 of a file; if it is absent, the saved sha256, or None."""
        return self.here(path) or self.saved.sha(path)

    def changed(self, job):
        """The inputs of a job whose content has changed since."""
        return [p for p, sha in job["inputs"].items() if self.now(p) not in (None, sha)]

    def _sha(self, path):
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):  # a pipe or a device would never end
            return None
        ctime = found.st_ctime_ns
        record = None if self.thorough else records.read(path)
        memo = records.restored(record) if record else None
        return memo[0] if memo and memo[1] == ctime else sha256(path)
