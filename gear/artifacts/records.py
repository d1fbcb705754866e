"""Snakemake's records of its outputs: a private format, known from Snakemake 9.27.1.

.snakemake/metadata holds a JSON file for each output, named by the output's path in base64.
.snakemake/incomplete holds a file of the same name while a job writes the output. A record counts
also where the output itself is absent. Snakemake compares the fields rule, code, params, input and
software_stack_hash, and the checksum of an input that is newer than the output.
"""

import json
import os
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from importlib import metadata
from pathlib import Path

from gear.files.mistakes import Mistake

SEEN = "9.27.1"
FORMAT = 6
HOME = Path(".snakemake")
FIELDS = ("rule", "code", "params", "software_stack_hash", "shellcmd")
RESTORED = "restored"  # first word of `shellcmd` in our records; Snakemake does not compare it


def check_version():
    """Mistake where the installed Snakemake has another version than SEEN."""
    installed = metadata.version("snakemake")
    if installed != SEEN:
        raise Mistake(
            f"gear artifacts knows the records of Snakemake {SEEN}, not those of {installed}; "
            f"run `make env`, or install snakemake=={SEEN}."
        )


def _file(output):
    name = urlsafe_b64encode(output.encode()).decode()
    size = os.pathconf(".", "PC_NAME_MAX") - 1
    *folders, last = [name[i : i + size] for i in range(0, len(name), size)]
    return HOME.joinpath("metadata", *("@" + part for part in folders), last)


def outputs(kind="metadata"):
    """The paths of recorded outputs, or with kind 'incomplete' of unfinished outputs."""
    for file in (HOME / kind).rglob("*"):
        if file.is_file() and file.name != "migration_underway":
            parts = [part.removeprefix("@") for part in file.relative_to(HOME / kind).parts]
            yield urlsafe_b64decode("".join(parts)).decode()


def running():
    """Whether the folder is locked: a Snakemake runs, or was killed before it could unlock."""
    return any((HOME / "locks").glob("*.lock"))


def read(output):
    """The record of an output, or None. Mistake: the record has another format."""
    try:
        record = json.loads(_file(output).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):  # Snakemake too ignores a broken record
        return None
    if not isinstance(record, dict) or not record.keys() >= {"record_format_version", *FIELDS}:
        return None
    if record["record_format_version"] != FORMAT:
        raise Mistake(
            f"Snakemake's record of {output} has format {record['record_format_version']}, and "
            f"gear artifacts knows {FORMAT} (Snakemake {SEEN}); make it again with that version."
        )
    return record


def job(record):
    """The fields of a record that describe its job, without the inputs."""
    return {
        "rule": record["rule"],
        "code": record["code"],
        "params": record["params"],
        "software": record["software_stack_hash"],
    }


def restored(record):
    """(sha256, ctime) of the output when `write` made the record; None for Snakemake's records."""
    words = str(record.get("shellcmd") or "").split()
    ours = len(words) == 3 and words[0] == RESTORED and words[2].isdecimal()
    return (words[1], int(words[2])) if ours else None


def write(output, job, sha256, stale=()):
    """Write the record of an output in Snakemake's format, with the times of the file.

    job: a job of a provenance record. stale: inputs whose content has changed since. They are
    written into the params, so that Snakemake plans the output and prints them as the reason."""
    try:
        stat = os.stat(output)
        end, ctime = stat.st_mtime, stat.st_ctime_ns
    except FileNotFoundError:
        end, ctime = 0.0, 0
    record = {
        "rule": job["rule"],
        "input": sorted(job["inputs"]),
        "log": [],
        "shellcmd": f"{RESTORED} {sha256} {ctime}",
        "params": [f"made from another {path}" for path in stale] or job["params"],
        "code": job["code"],
        "record_format_version": FORMAT,
        "conda_env": None,
        "container_img_url": None,
        "software_stack_hash": job["software"],
        "job_hash": zlib.crc32(json.dumps([job["params"], job["inputs"]]).encode()),
        "starttime": end - job["seconds"],
        "endtime": end,
        "incomplete": False,
        "external_jobid": None,
        "input_checksums": {path: f"sha256:{sha}" for path, sha in job["inputs"].items()},
    }
    file = _file(output)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record), encoding="utf-8")
