"""`gear artifacts save`: records to git, large files to DVC's cache."""

import json
import os
from pathlib import Path

from gear.artifacts import records, store, times
from gear.artifacts.restore import restore
from gear.artifacts.transfer import state_file
from gear.artifacts.units import (
    DATA,
    LARGE,
    Contents,
    Saved,
    large,
    record_file,
    under,
    unit_of,
    write_record,
)
from gear.files.mistakes import Mistake
from gear.files.reading import read_record

UNRECORDED = (".tsv", ".dvc", ".prov.json", "report.html")  # endings of files without record


def save(prefixes, states=False):
    """Save what Snakemake made under the prefixes. states: save the training states too.

    Mistake: code is not committed, a job runs or was stopped, or an output has no record, is
    missing, or was made from inputs that have changed since. Then nothing is saved."""
    records.check_version()
    _refuse_ignored(prefixes)
    _refuse_dirty(prefixes)
    _refuse_unfinished(prefixes)
    units = _outputs(prefixes)
    _refuse_unrecorded(prefixes, {path for paths in units.values() for path in paths})
    if not units:
        raise Mistake(f"Snakemake made nothing under {' '.join(prefixes)}; run it first.")

    saved = Saved(prefixes)
    contents = Contents(saved)
    contents.read(path for paths in units.values() for path in paths)
    described = _described(units, prefixes, contents)
    replaced = [name for name in saved.records if _is_replaced(name, saved, described)]
    kept = _large(units, described, replaced) | _states(units, states)
    store.commit(kept)
    jobs = {unit: _jobs(outputs) for unit, outputs in described.items()}
    changed = [unit for unit in jobs if jobs[unit] != saved.records.get(unit)]
    for unit in changed:
        write_record(unit, jobs[unit])
    _to_git(prefixes, [*kept, *(str(record_file(unit)) for unit in jobs)], replaced)
    restore(prefixes)
    count = f"saved {len(jobs)} runs and folders, {len(changed)} of them new or changed"
    print(f"{count}; now: git commit")


def _outputs(prefixes):
    """{unit: its recorded outputs under the prefixes}.

    Folders without any existing file are left out: they were deleted, or were not pulled."""
    folders = {}
    for path in sorted(records.outputs()):
        if under(path, prefixes):
            folders.setdefault(os.path.dirname(path), []).append(path)
    units = {}
    for paths in folders.values():
        if any(map(os.path.exists, paths)):
            units.setdefault(unit_of(paths[0]), []).extend(paths)
    return units


def _described(units, prefixes, contents):
    """{unit: {output: (its job, its sha256)}}.

    Outputs outside the prefixes, or in folders without any existing file, are as saved before."""
    described = {
        unit: {path: _as_made(path, contents) for path in paths} for unit, paths in units.items()
    }
    known = set(records.outputs())
    for path in contents.saved.job_of:
        outputs = described.get(unit_of(path), {path: None})
        if path not in outputs and (path in known or not under(path, prefixes)):
            outputs[path] = _as_saved(path, contents.saved)
    return described


def _as_made(path, contents):
    """(job, sha256) of an output from its record in Snakemake.

    Mistake: the output is missing, or differs from its record."""
    record, sha = records.read(path), contents.here(path)
    if record is None or records.restored(record):
        before = contents.saved.sha(path)
        if record is None or before is None or sha not in (None, before):
            raise Mistake(
                f"{path} is neither what was saved nor, by its record, what Snakemake made; "
                "delete it, then pull it or make it again."
            )
        return _as_saved(path, contents.saved)
    if sha is None:
        raise Mistake(
            f"{path} is gone, while other files of its folder are there; run Snakemake "
            f"again, or have it forgotten: snakemake --cleanup-metadata {path}"
        )
    job = records.job(record) | {"inputs": _inputs(path, record, contents)}
    return job | {"seconds": times.seconds(record)}, sha


def _as_saved(path, saved):
    """(job, sha256) of an output from its saved record."""
    job = {key: value for key, value in saved.job_of[path].items() if key != "outputs"}
    job["seconds"] += 0.0  # turns -0.0 of older records into 0.0
    return job, saved.sha(path)


def _jobs(outputs):
    """The jobs of a record, made from {output: (its job, its sha256)}."""
    jobs = {}
    for path, (job, sha) in sorted(outputs.items()):
        key = json.dumps({k: v for k, v in job.items() if k != "seconds"}, sort_keys=True)
        jobs.setdefault(key, job | {"outputs": {}})["outputs"][path] = sha
    return list(jobs.values())


def _is_replaced(name, saved, units):
    """Whether a record has the older form and units that are saved now have all its outputs."""
    named = {unit_of(path) for job in saved.records[name] for path in job["outputs"]}
    return name not in units and named <= set(units)


def _inputs(output, record, contents):
    """{path: sha256} of the inputs of an output. Mistake: an input has changed or is missing.

    Snakemake records the checksum of small inputs. A large input has changed if its file is newer
    than the output."""
    inputs = {}
    for path in record["input"]:
        recorded = record["input_checksums"].get(path, "").removeprefix("sha256:")
        sha = contents.now(path) or recorded
        newer = os.path.exists(path) and os.path.getmtime(path) > record["endtime"]
        if (recorded and recorded != sha) or (newer and not recorded):
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


def _large(units, described, replaced):
    """{.dvc file: (existing large files, {path: entry} of the other ones)} of some units."""
    before = {unit: store.outs(f"{unit}.dvc") for unit in units}
    for name in replaced:
        entries = store.outs(f"{name}.dvc")
        if entries:
            before[unit_of(next(iter(entries)))].update(entries)
    kept = {}
    for unit, paths in units.items():
        here = [path for path in large(paths) if os.path.exists(path)]
        others = {p: before[unit][p] for p in large(described[unit]) if p not in here}
        if here or before[unit]:
            kept[f"{unit}.dvc"] = here, others
    return kept


def _states(units, every):
    """{.dvc file: (existing states, {path: entry} of the other ones)} of training states.

    every: the states of all milestones among the outputs; otherwise only of those whose state was
    saved before. Mistake: a state does not exist."""
    kept = {}
    for unit, paths in units.items():
        before = store.outs(state_file(unit))
        states = {state for state in _states_of(unit, paths) if every or state in before}
        here = [state for state in states | set(before) if os.path.exists(state)]
        lacking = states - set(before) - set(here)
        if lacking:
            raise Mistake(f"there is no training state {min(lacking)}; save without --states.")
        if states:
            kept[state_file(unit)] = here, {p: before[p] for p in before if p not in here}
    return kept


def _states_of(run, outputs):
    """The paths of the training states at the milestones among some outputs of a run."""
    for path in outputs:
        folder, name = os.path.split(path)
        if name == "run.json" and os.path.dirname(folder) == run and os.path.exists(path):
            steps = read_record(path).get("steps")
            if steps:
                yield f"{run}/state/{steps}.pt"


def _to_git(prefixes, files, replaced):
    """Stage the saved files and the small files under the prefixes.

    The files of replaced records are removed, and so are files in git that are ignored now."""
    gone = [f"{name}{end}" for name in replaced for end in (".prov.json", ".dvc")]
    for file in gone:
        Path(file).unlink(missing_ok=True)
    small = [prefix for prefix in prefixes if not under(prefix, [DATA])]
    if small:
        listed = store.git("ls-files", "-z", "--cached", "--ignored", "--exclude-standard", *small)
        gone += [file for file in listed.split("\0") if file]
    gone += [file for file in files if not os.path.exists(file)]
    if gone:
        quiet = ("--cached", "--quiet", "--ignore-unmatch")
        store.git("rm", *quiet, "--pathspec-from-file=-", lines=gone)
    here = [file for file in files if os.path.exists(file)]
    store.git("add", "--pathspec-from-file=-", lines=[*here, *small])


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
    paths = {path for path in listed.split("\0") if path and os.path.exists(path)}
    found = (p for top in prefixes for end in LARGE for p in Path(top).rglob("*" + end))
    # a hidden file saves a later job time (gear/data/lookup.py), and is nobody's result
    paths.update(str(p) for p in found if not p.name.startswith("."))
    for path in sorted(paths - known):
        if not path.endswith(UNRECORDED) and not under(path, [DATA]):
            raise Mistake(
                f"Snakemake has no record of {path}, so nobody could tell how it was made; delete "
                "it and run Snakemake again."
            )
