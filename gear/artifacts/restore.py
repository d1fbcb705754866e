"""`gear artifacts restore`: what Snakemake knew when the results were saved, and file times.

A checkout leaves files with times in no order, and Snakemake without records. The records come back
from the provenance; the files get a time that is never later than that of what was made from them,
and long past, so that they are older than anything made here. What was changed or made anew here
keeps its time and its record. An output that was made from something else than what is there is
stale: its record says so, and Snakemake plans it."""

import os
from graphlib import TopologicalSorter

from gear.artifacts import accepted, records
from gear.artifacts.units import DATA, PAGE, Contents, Saved, unit_of

LONG_AGO = 946_684_800 * 10**9  # 2000-01-01, in nanoseconds
SHOWN = 10


def show(title, lines):
    """A headline with the number of lines, and the first of them."""
    if lines:
        print(f"{title}: {len(lines)}")
        print(*(f"  {line}" for line in lines[:SHOWN]), sep="\n")
        if lines[SHOWN:]:
            print(f"  and {len(lines) - SHOWN} more")


def restore(prefixes, accept_code=False):
    """Give Snakemake its records of the results folders (results/, say) that the prefixes lie in.

    accept_code: what is under the prefixes counts as made although code has changed since; the
    provenance records then say so. Returns (stale outputs with the reason, outputs that are not as
    they were saved)."""
    records.check_version()
    saved = Saved(prefixes)
    saved.chosen(prefixes)
    taken = accepted.accept(saved, prefixes) if accept_code else []
    contents = Contents(saved)
    contents.read([*saved.job_of, *(path for job in saved.jobs for path in job["inputs"])])
    as_saved = {path for path in saved.job_of if _is_as_saved(path, saved, contents)}
    _order(as_saved, saved, contents)
    stale = []
    for path in sorted(as_saved):
        changed = contents.changed(saved.job_of[path])
        records.write(path, saved.job_of[path], saved.sha(path), changed)
        stale += [f"{path} (from another {changed[0]})"] if changed else []
    missing = [path for path in saved.job_of if not contents.here(path)]
    absent = [path for path in missing if not path.endswith(PAGE)]
    other = sorted(set(saved.job_of) - as_saved)
    print(f"restored the records of {len(as_saved)} files; {len(absent)} of them are not pulled")
    if absent:
        studies = {DATA if unit_of(p) == DATA else "/".join(p.split("/")[:2]) for p in absent}
        print(
            "where a changed setting needs what is absent, that and all that was made from it is "
            f"planned anew; pull it first: gear artifacts pull {' '.join(sorted(studies))}"
        )
    if len(missing) > len(absent):
        print(
            "for snakemake --report, make the tables' pages first: snakemake all_tables --forcerun "
            "make_table make_claims ..."
        )
    show("accepted although the code of their rules has changed", taken)
    show("stale, so Snakemake will make them again", stale)
    show("changed or made anew here, left as they are", other)
    return stale, other


def _is_as_saved(path, saved, contents):
    """Whether a file is absent or has the saved content, and was not made in another way here."""
    if contents.here(path) not in (None, saved.sha(path)):
        return False
    record, job = records.read(path), saved.job_of[path]
    return (
        record is None
        or records.restored(record) is not None
        or all(job[key] == value for key, value in records.job(record).items())
    )


def _order(as_saved, saved, contents):
    """Set the times of the files along the DAG: an output is as old as its newest input."""
    graph = {path: job["inputs"] for path, job in saved.job_of.items()}
    times = {}
    for path in TopologicalSorter(graph).static_order():
        if not contents.here(path):
            continue
        times[path] = os.stat(path).st_mtime_ns
        if path in as_saved:
            wanted = max([LONG_AGO, *(times[p] for p in graph[path] if p in times)])
            if times[path] != wanted:
                os.utime(path, ns=(wanted, wanted))
            times[path] = wanted
