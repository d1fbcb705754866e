"""Results that count as made although code has changed since (`gear artifacts restore
--accept-code`).

A rule's params hold {kind: hash} of the code that can change what it makes (CODE in
gear/study/jobs.py). An accepted job gets today's hash in its params, so that Snakemake plans
nothing, and its provenance record says so under `accepted`: a list of {"code": kind, "made_with":
hash, "accepted": hash}."""

import re

from gear.artifacts.units import under, write_record
from gear.study.jobs import CODE, code

PARAM = re.compile(r"'code': \{'(\w+)': '([0-9a-f]{12})'\}")


def changes(job):
    """{kind: (hash of the code that made it, today's)} of a job, where they differ."""
    known = dict(pair for param in job["params"] for pair in PARAM.findall(param))
    today = {kind: code(kind)[kind] for kind in known if kind in CODE}
    return {kind: (known[kind], mine) for kind, mine in today.items() if known[kind] != mine}


def accept(saved, prefixes):
    """Accept the changed code of all saved jobs with an output under the prefixes, and write that
    into their records. Returns lines for people, one for each rule and kind of code."""
    counts, names = {}, []
    for name, jobs in saved.records.items():
        for job in jobs:
            found = changes(job)
            if not found or not any(under(path, prefixes) for path in job["outputs"]):
                continue
            for kind, (old, new) in found.items():
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
    """Lines for people: what of these outputs was accepted, by rule and pair of hashes."""
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
