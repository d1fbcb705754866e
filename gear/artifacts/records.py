"""Snakemake's records of what it made: a private format, seen with Snakemake 9.27.1.

.snakemake/metadata holds a JSON file per output, named by the output's path in base64;
.snakemake/incomplete a file of the same name while a job writes it. A record counts for its output
whether or not the file is there. Of its fields Snakemake compares rule, code, params, input,
software_stack_hash and, where an input is newer than the output, the input's checksum.
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
RESTORED = "restored"  # first word of `shellcmd`, which nothing compares, in records that we write


def check_version():
    """Mistake where Snakemake is another version than the one whose records we know."""
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
    """The paths that Snakemake has a record of, or, with kind 'incomplete', that are unfinished."""
    for file in (HOME / kind).rglob("*"):
        if file.is_file() and file.name != "migration_underway":
            parts = [part.removeprefix("@") for part in file.relative_to(HOME / kind).parts]
            yield urlsafe_b64decode("".join(parts)).decode()


def running():
    """Whether a Snakemake has locked this folder, or was killed before it unlocked it."""
    return any((HOME / "locks").glob("*.lock"))


def read(output):
    """The record of an output, or None. Mistake where it has another format."""
    try:
        record = json.loads(_file(output).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # Snakemake, too, passes over a torn one
        return None
    if record["record_format_version"] != FORMAT:
        raise Mistake(
            f"Snakemake's record of {output} has format {record['record_format_version']}, and "
            f"gear artifacts knows {FORMAT} (Snakemake {SEEN}); make it again with that version."
        )
    return record


def job(record):
    """What of a record says how its output was made, besides from which inputs."""
    return {
        "rule": record["rule"],
        "code": record["code"],
        "params": record["params"],
        "software": record["software_stack_hash"],
    }


def restored(record):
    """(sha256, ctime) of the output when we wrote this record; None for one of Snakemake's own."""
    words = (record["shellcmd"] or "").split()
    return (words[1], int(words[2])) if words[:1] == [RESTORED] else None


def write(output, made, sha256, stale=()):
    """Write the record of an output as Snakemake would have, with the times of the file.

    made: a job of a provenance record. stale: inputs whose content is not what it was made from;
    they enter the params, so that Snakemake plans the output anew, with them as the reason."""
    try:
        stat = os.stat(output)
        end, ctime = stat.st_mtime, stat.st_ctime_ns
    except FileNotFoundError:
        end, ctime = 0.0, 0
    record = {
        "rule": made["rule"],
        "input": sorted(made["inputs"]),
        "log": [],
        "shellcmd": f"{RESTORED} {sha256} {ctime}",
        "params": [f"made from another {path}" for path in stale] or made["params"],
        "code": made["code"],
        "record_format_version": FORMAT,
        "conda_env": None,
        "container_img_url": None,
        "software_stack_hash": made["software"],
        "job_hash": zlib.crc32(json.dumps([made["params"], made["inputs"]]).encode()),
        "starttime": end - made["seconds"],
        "endtime": end,
        "incomplete": False,
        "external_jobid": None,
        "input_checksums": {path: f"sha256:{sha}" for path, sha in made["inputs"].items()},
    }
    file = _file(output)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record), encoding="utf-8")
