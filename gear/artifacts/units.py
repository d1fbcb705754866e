"""Units of results, their provenance records, and the content of files.

A provenance record is {"jobs": [{rule, code, params, software, seconds, inputs: {path: sha256},
outputs: {path: sha256}, accepted: see accepted.py}]}, with the outputs that lie in its unit; paths
are relative to the repository, where every command runs."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gear.artifacts import records
from gear.files.aside import write
from gear.files.hashes import sha256
from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_json

DATA = "data"  # one unit, whose large files are whole data sets: data.dvc
LARGE = (".safetensors", ".npz", ".gz")  # as in .gitignore


def unit_of(path):
    """The folder whose provenance record names this output."""
    return DATA if path.startswith(f"{DATA}/") else os.path.dirname(path)


def large(paths):
    """What DVC keeps of a unit's outputs: the large files; of the data the set's whole folder."""
    return sorted(
        {os.path.dirname(p) if unit_of(p) == DATA else p for p in paths if _is_large(p)}
    )


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


def provenance(unit):
    return Path(f"{unit}.prov.json")


def write_provenance(unit, jobs):
    text = json.dumps({"jobs": jobs}, indent=1, sort_keys=True, ensure_ascii=False)
    write(provenance(unit), text + "\n")


class Saved:
    """All that was saved in the results folders that the prefixes lie in, and of the data."""

    def __init__(self, prefixes):
        self.units = {}
        tops = sorted({prefix.split("/")[0] for prefix in prefixes} - {DATA})
        files = [file for top in tops for file in sorted(Path(top).rglob("*.prov.json"))]
        for file in [*files, provenance(DATA)]:
            content = read_json(file, "take it from git") if file.exists() else {}
            if "jobs" in content:  # a table's own provenance has none
                self.units[str(file).removesuffix(".prov.json")] = content["jobs"]
        self.jobs = [job for jobs in self.units.values() for job in jobs]
        self.job_of = {path: job for job in self.jobs for path in job["outputs"]}

    def sha(self, path):
        return self.job_of[path]["outputs"][path] if path in self.job_of else None

    def chosen(self, prefixes, inputs=False):
        """The saved outputs under the prefixes; with `inputs` also all that they were made from.

        Mistake where there are none."""
        for prefix in prefixes:
            if not any(under(path, [prefix]) for path in self.job_of):
                names = sorted({*self.units, *(os.path.dirname(u) for u in self.units)})
                cure = did_you_mean(prefix, names) if names else "Save something first."
                raise Mistake(f"nothing was saved under '{prefix}'. {cure}")
        found = [path for path in self.job_of if under(path, prefixes)]
        if inputs:
            for path in found:  # grows while it is read
                new = [p for p in self.job_of[path]["inputs"] if p in self.job_of]
                found += [p for p in dict.fromkeys(new) if p not in found]
        return sorted(found)


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
