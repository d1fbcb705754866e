"""Acceptance of results although code has changed (`gear artifacts restore --accept-code`).

A rule's params hold {kind: hash} of the code that can change its outputs (CODE in
gear/study/jobs.py). An accepted job gets the current hash in its params, so that Snakemake plans
nothing. Its provenance record lists the acceptance under `accepted`: {"code": kind, "made_with":
hash, "accepted": hash}.
"""

import re

from gear.artifacts.units import under, write_record
from gear.study.jobs import CODE, code

PARAM = re.compile(r"'code': \{([^}]*)\}")
PAIR = re.compile(r"'(\w+)': '([0-9a-f]{12})'")


def changes(job):
    """{kind: (recorded hash, current hash)} of a job's code, where the two differ."""
    hashes = (found for param in job["params"] for found in PARAM.findall(param))
    recorded = dict(pair for found in hashes for pair in PAIR.findall(found))
    current = {kind: code(kind)[kind] for kind in recorded if kind in CODE}
    return {kind: (recorded[kind], now) for kind, now in current.items() if recorded[kind] != now}


def accept(saved, prefixes):
    """Accept the changed code of all saved jobs with an output under the prefixes.

    Writes the acceptance into their records. Returns a line for each rule and kind of code."""
    counts, names = {}, []
    for name, jobs in saved.records.items():
        for job in jobs:
            hashes = changes(job)
            if not hashes or not any(under(path, prefixes) for path in job["outputs"]):
                continue
            for kind, (old, new) in hashes.items():
                job["params"] = [param.replace(f"'{old}'", f"'{new}'") for param in job["params"]]
                entry = {"code": kind, "made_with": old, "accepted": new}
                job["accepted"] = [*job.get("accepted", []), entry]
                where = (job["rule"], kind)
                counts[where] = counts.get(where, 0) + len(job["outputs"])
            names.append(name)
    for name in dict.fromkeys(names):
        write_record(name, saved.records[name])
    return [f"{rule}: {count} files, code of {kind}" for (rule, kind), count in counts.items()]


def noted(saved, paths):
    """Lines for people: accepted files among these outputs, by rule and pair of hashes."""
    counts = {}
    for path in paths:
        job = saved.job_of[path]
        for entry in job.get("accepted", []):
            where = (job["rule"], entry["code"], entry["made_with"], entry["accepted"])
            counts[where] = counts.get(where, 0) + 1
    return [
        f"{rule}: {count} files, code of {kind}: made with {old}, accepted for {new}"
        for (rule, kind, old, new), count in sorted(counts.items())
    ]
