"""`gear artifacts restore`: Snakemake's records and the file times of saved results.

After a checkout the times of files have no order, and Snakemake has no records. `restore` writes
the records from the provenance. It gives each file a time in the year 2000 that is not later than
the times of the files made from it. So restored files are older than all files made afterwards.
Files that were changed or made again here keep their times and records. An output whose inputs have
changed since is stale: its record says so, and Snakemake plans it.
"""

import os
import shutil
from graphlib import TopologicalSorter

from gear.artifacts import accepted, records
from gear.artifacts.units import DATA, PAGE, Contents, Saved, unit_of
from gear.files.aside import aside

LONG_AGO = 946_684_800 * 10**9  # 2000-01-01, in nanoseconds
SHOWN = 10


def show(title, lines):
    """Print a title with the number of lines, and the first lines."""
    if lines:
        print(f"{title}: {len(lines)}")
        print(*(f"  {line}" for line in lines[:SHOWN]), sep="\n")
        if lines[SHOWN:]:
            print(f"  and {len(lines) - SHOWN} more")


def restore(prefixes, accept_code=False):
    """Write Snakemake's records for all results in the top folders of the prefixes.

    A top folder is for example results/. accept_code: results under the prefixes count as up to
    date although code has changed; the provenance records then say so. Returns (stale outputs with
    the reason, outputs that differ from what was saved). Mistake: as of `check_version`, or nothing
    was saved under a prefix."""
    records.check_version()
    saved = Saved(prefixes)
    saved.chosen(prefixes)
    accepted_lines = accepted.accept(saved, prefixes) if accept_code else []
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
            f"planned again; pull it first: gear artifacts pull {' '.join(sorted(studies))}"
        )
    if len(missing) > len(absent):
        print(
            "for snakemake --report, make the tables' pages first: snakemake all_tables --forcerun "
            "make_table make_claims ..."
        )
    show("accepted although the code of their rules has changed", accepted_lines)
    show("stale, so Snakemake will make them again", stale)
    show("changed or made again here; they stay as they are", other)
    return stale, other


def _is_as_saved(path, saved, contents):
    """Whether a file is absent or has the saved content, and no other job made it here."""
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
            newest = max([LONG_AGO, *(times[p] for p in graph[path] if p in times)])
            if times[path] != newest:
                _set_time(path, newest)
            times[path] = newest


def _set_time(path, nanoseconds):
    """Set a file's time.

    A file that hard links share with DVC's cache and with other clones is copied first, because a
    time belongs to all links: Snakemake in another clone would train again."""
    if os.stat(path).st_nlink > 1:
        with aside(path) as part:
            shutil.copyfile(path, part)
    os.utime(path, ns=(nanoseconds, nanoseconds))
