"""`gear artifacts save`: provenance to git, large files to DVC's cache."""

import os
from pathlib import Path

from gear.artifacts import records, store, times
from gear.artifacts.restore import restore
from gear.artifacts.units import (
    DATA,
    LARGE,
    Contents,
    Saved,
    large,
    provenance,
    under,
    unit_of,
    write_provenance,
)
from gear.files.mistakes import Mistake
from gear.files.reading import read_json

UNRECORDED = ("benchmark.tsv", ".dvc", ".prov.json", "report.html")  # ends of names


def save(prefixes, states=False):
    """Save what Snakemake made under the prefixes. states: with the training states.

    Mistake, and nothing is saved, where code is not committed, a job runs or was stopped, or an
    output has no record, is gone, or was made from something else than what is there."""
    records.check_version()
    _refuse_ignored(prefixes)
    _refuse_dirty(prefixes)
    _refuse_unfinished(prefixes)
    units = {}
    for path in sorted(records.outputs()):
        if under(path, prefixes):
            units.setdefault(unit_of(path), []).append(path)
    units = {unit: paths for unit, paths in units.items() if any(map(os.path.exists, paths))}
    _refuse_unrecorded(prefixes, {path for paths in units.values() for path in paths})
    if not units:
        raise Mistake(f"Snakemake made nothing under {' '.join(prefixes)}; run it first.")

    saved = Saved(prefixes)
    contents = Contents(saved)
    contents.read(path for paths in units.values() for path in paths)
    jobs = {unit: _jobs(paths, contents) for unit, paths in units.items()}
    kept = {f"{unit}.dvc": large(paths) for unit, paths in units.items() if large(paths)}
    kept |= _states(units, states)
    if DATA in units:  # the other data sets stay in data.dvc
        kept["data.dvc"] = sorted({*kept["data.dvc"], *store.outs("data.dvc")})
    store.commit(kept)
    changed = [unit for unit, made in jobs.items() if made != saved.units.get(unit)]
    for unit in changed:
        write_provenance(unit, jobs[unit])
    files = [*kept, *(str(provenance(unit)) for unit in jobs)]
    files += [prefix for prefix in prefixes if not under(prefix, [DATA])]
    store.git("add", "--pathspec-from-file=-", lines=files)
    restore(prefixes)
    print(f"saved {len(jobs)} folders, {len(changed)} of them new or changed; now: git commit")


def _jobs(paths, contents):
    """The jobs of a provenance record: those that made these outputs of one unit."""
    jobs = []
    for path in paths:
        record = records.read(path)
        before, sha = contents.saved.job_of.get(path), contents.here(path)
        if record is None or records.restored(record):
            if record is None or before is None or sha not in (None, before["outputs"][path]):
                raise Mistake(
                    f"{path} is neither what was saved nor, by its record, what Snakemake made; "
                    "delete it, then pull it or make it again."
                )
            job = {key: before[key] for key in ("inputs", "seconds", *records.job(record))}
            job |= {key: before[key] for key in ("accepted",) if key in before}
            job["seconds"] += 0.0  # older records have -0.0
            sha = before["outputs"][path]
        else:
            if sha is None:
                raise Mistake(
                    f"{path} is gone, while other files of its folder are there; run Snakemake "
                    f"again, or have it forgotten: snakemake --cleanup-metadata {path}"
                )
            job = records.job(record) | {"inputs": _inputs(path, record, contents)}
            job["seconds"] = times.seconds(record)
        same = [j for j in jobs if all(j[k] == v for k, v in job.items() if k != "seconds")]
        if not same:
            jobs.append(job | {"outputs": {}})
        (same or jobs[-1:])[0]["outputs"][path] = sha
    return jobs


def _inputs(output, record, contents):
    """{path: sha256} of what an output was made from. Mistake where that is not there any more.

    Snakemake notes the checksum of small inputs; for the others the newer file tells."""
    inputs = {}
    for path in record["input"]:
        noted = record["input_checksums"].get(path, "").removeprefix("sha256:")
        sha = contents.now(path) or noted
        newer = os.path.exists(path) and os.path.getmtime(path) > record["endtime"]
        if noted and noted != sha or newer and not noted:
            raise Mistake(
                f"{output} was made from another {path} than the one that is there; run Snakemake "
                "again, then save."
            )
        if not sha:
            raise Mistake(
                f"{output} was made from {path}, which is not there and was never saved; make it "
                "or pull it, then save."
            )
        inputs[path] = sha
    return inputs


def _states(units, wanted):
    """{.dvc file: training states} of the steps among some units: of all where they are wanted,
    else of those whose state was saved before."""
    kept = {}
    for unit in units:
        run, record = os.path.dirname(unit), Path(unit, "run.json")
        steps = (read_json(record) if record.exists() else {}).get("steps")
        file, state = f"{run}/state.dvc", f"{run}/state/{steps}.pt"
        before = store.outs(file)
        if not steps or not wanted and state not in before:
            continue
        if state not in before and not os.path.exists(state):
            raise Mistake(f"there is no training state {state}; save without --states.")
        kept[file] = sorted({*kept.get(file, before), state})
    return kept


def _refuse_ignored(prefixes):
    for prefix in prefixes:
        ignored = store.run(["git", "check-ignore", "--quiet", prefix])[0] == 0
        if ignored and not under(prefix, [DATA]):
            raise Mistake(
                f"git ignores {prefix}, so it cannot be saved; make the results below results/, "
                "Snakemake's default."
            )


def _refuse_dirty(prefixes):
    tops = sorted({"results", *(prefix.split("/")[0] for prefix in prefixes)})
    others = [f":(exclude){path}" for path in (*tops, "data.dvc", "data.prov.json")]
    dirty = store.git("diff", "--name-only", "HEAD", "--", ".", *others).splitlines()
    if dirty:
        more = f" and {len(dirty) - 1} more" if dirty[1:] else ""
        raise Mistake(
            f"{dirty[0]}{more} differ from the last commit, so that nobody could tell which code "
            "made the results; commit or stash that, then save."
        )


def _refuse_unfinished(prefixes):
    if records.running():
        raise Mistake(
            "Snakemake is running here, or was killed; wait for it, or end it with "
            "snakemake --unlock and run it again."
        )
    for path in sorted(records.outputs("incomplete")):
        if under(path, prefixes):
            raise Mistake(f"{path} is half-finished: its job was stopped; run Snakemake again.")


def _refuse_unrecorded(prefixes, known):
    listed = store.git("ls-files", "-z", "--cached", "--others", "--exclude-standard", *prefixes)
    found = {path for path in listed.split("\0") if path and os.path.exists(path)}
    found.update(str(p) for top in prefixes for end in LARGE for p in Path(top).rglob("*" + end))
    for path in sorted(found - known):
        if not path.endswith(UNRECORDED) and "/benchmark/" not in path and not under(path, [DATA]):
            raise Mistake(
                f"Snakemake has no record of {path}, so nobody could tell how it was made; delete "
                "it and run Snakemake again."
            )
