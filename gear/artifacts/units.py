"""Units of results, their records, and the content of files.

A record is {"jobs": [{rule, code, params, software, seconds, inputs: {path: sha256}, outputs:
{path: sha256}, accepted: see accepted.py}]}, with the outputs of its unit; paths are relative to
the repository, where every command runs. Older records have one folder of a run each; they are
read like the others, and `save` replaces them."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gear.artifacts import records
from gear.files.aside import write
from gear.files.hashes import sha256
from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_json
from gear.study.stages import STAGES

DATA = "data"  # one unit, whose large files are whole data sets: data.dvc
LARGE = (".safetensors", ".npz", ".gz")  # as in .gitignore
INDEX = "README.md"  # of a study's results
PAGE = ".html"  # a table's page for Snakemake's report: neither git's nor DVC's
OF_A_RUN = re.compile(
    rf"(.+?)/(?:(?:samples|metrics|analysis)/)?((?:{'|'.join(STAGES)})/[^/]+)/[0-9]+k[./]"
)


def unit_of(path):
    """The unit whose record names this output: all data, a run with its samples, scores and
    analyses, or the file's folder."""
    if path.startswith(f"{DATA}/"):
        return DATA
    run, folder = OF_A_RUN.match(path), os.path.dirname(path)
    if path == f"{folder}/{INDEX}":
        return f"{folder}/index"
    return "/".join(run.groups()) if run else folder


def large(paths):
    """What DVC keeps of a unit's outputs: the large files; of the data the set's whole folder."""
    return sorted({os.path.dirname(p) if unit_of(p) == DATA else p for p in paths if _is_large(p)})


def _is_large(path):
    return path.endswith(LARGE) or unit_of(path) == DATA


def cleaned(paths):
    """The user's prefixes, relative to the repository. Mistake where there is no repository."""
    if not Path(".dvc").is_dir():
        raise Mistake("gear artifacts works in the repository's top folder; go there first.")
    if "" in paths:
        raise Mistake("an empty path names no folder of results; name one, such as results/demo.")
    found = [os.path.relpath(path) for path in paths]
    for path in found:
        if path.split(os.sep)[0] in (".", ".."):
            raise Mistake(f"'{path}' is no folder of results; name one, such as results/demo.")
    return found


def under(path, prefixes):
    """Whether a path is one of the prefixes or below one."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)


def record_file(name):
    return Path(f"{name}.prov.json")


def write_record(name, jobs):
    text = json.dumps({"jobs": jobs}, indent=1, sort_keys=True, ensure_ascii=False)
    write(record_file(name), text + "\n")


class Saved:
    """All that was saved in the results folders that the prefixes lie in, and of the data.

    records: {name: jobs}; `<name>.prov.json` is a record, `<name>.dvc` keeps its large files."""

    def __init__(self, prefixes):
        self.records = {}
        tops = sorted({prefix.split("/")[0] for prefix in prefixes} - {DATA})
        files = [file for top in tops for file in sorted(Path(top).rglob("*.prov.json"))]
        for file in [*files, record_file(DATA)]:
            content = read_json(file, "take it from git") if file.exists() else {}
            if "jobs" in content:  # older tables have such a file without jobs
                self.records[str(file).removesuffix(".prov.json")] = content["jobs"]
        self.jobs = [job for jobs in self.records.values() for job in jobs]
        self.job_of = {path: job for job in self.jobs for path in job["outputs"]}
        self.record_of = {}
        for name, jobs in self.records.items():
            self.record_of |= {path: name for job in jobs for path in job["outputs"]}

    def sha(self, path):
        return self.job_of[path]["outputs"][path] if path in self.job_of else None

    def chosen(self, prefixes, inputs=False):
        """The saved outputs under the prefixes; with `inputs` also all that they were made from.

        Mistake where there are none."""
        for prefix in prefixes:
            if not any(under(path, [prefix]) for path in self.job_of):
                names = sorted({str(f) for path in self.job_of for f in Path(path).parents})
                cure = did_you_mean(prefix, names) if names else "Save something first."
                raise Mistake(f"nothing was saved under '{prefix}'. {cure}")
        paths = {path for path in self.job_of if under(path, prefixes)}
        waiting = [*paths] if inputs else []
        while waiting:
            made_from = {p for p in self.job_of[waiting.pop()]["inputs"] if p in self.job_of}
            waiting += made_from - paths
            paths |= made_from
        return sorted(paths)


class Contents:
    """The sha256 of files, each read once; not at all where the file is as `restore` left it.

    thorough: read every file."""

    def __init__(self, saved, thorough=False):
        self.saved, self.thorough, self.known = saved, thorough, {}

    def read(self, paths):
        """Hash several files at once."""
        missing = [path for path in dict.fromkeys(paths) if path not in self.known]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self.known.update(zip(missing, pool.map(self._sha, missing), strict=True))

    def here(self, path):
        """The content of a file, or None where it is absent."""
        if path not in self.known:
            self.read([path])
        return self.known[path]

    def now(self, path):
        """The content of a file or, where it is absent, what was saved of it, if anything was."""
        return self.here(path) or self.saved.sha(path)

    def changed(self, job):
        """The inputs of a job that are not what it was made from."""
        return [p for p, sha in job["inputs"].items() if self.now(p) not in (None, sha)]

    def _sha(self, path):
        try:
            ctime = os.stat(path).st_ctime_ns
        except FileNotFoundError:
            return None
        record = None if self.thorough else records.read(path)
        memo = records.restored(record) if record else None
        return memo[0] if memo and memo[1] == ctime else sha256(path)
