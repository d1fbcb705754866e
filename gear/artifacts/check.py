"""`gear artifacts check` and `status`: are the results what was saved, and are they up to date?"""

import os
from pathlib import Path

from gear.artifacts import accepted, records, store
from gear.artifacts.restore import show
from gear.artifacts.transfer import dvc_files
from gear.artifacts.units import DATA, Contents, Saved, large, under, unit_of
from gear.files.reading import read_json
from gear.study.stages import STAGES


def check(prefixes):
    """Compare every file with its record, every record with those of its inputs, and the cache with
    the names of its objects; changes nothing. Returns 1 where something is wrong."""
    saved = Saved(prefixes)
    chosen = saved.chosen(prefixes)
    contents = Contents(saved, thorough=True)
    contents.read([*chosen, *(p for path in chosen for p in saved.job_of[path]["inputs"])])
    modified = [p for p in chosen if contents.here(p) not in (None, saved.sha(p))]
    if any(unit_of(path) == DATA for path in chosen):
        modified += store.changed_data(f"{DATA}.dvc")
    stale = []
    for path in chosen:
        changed = contents.changed(saved.job_of[path])
        stale += [f"{path} (from another {changed[0]})"] if changed else []
    faults = {"missing": [], "damaged": []}
    for path, kept, fault in store.faults(dvc_files(chosen, states=True)):
        faults[fault].append(f"{path} ({kept})")
    absent = [p for p in large(chosen) if not os.path.exists(p)]
    print(f"checked {len(chosen)} saved files; {len(absent)} large ones are not pulled")
    show("not what was saved: save them, or delete and pull them", modified)
    show("stale: run Snakemake again, then save", stale)
    show("missing in the cache: save or pull them again", faults["missing"])
    show("damaged in the cache: delete the object, then pull or save again", faults["damaged"])
    show("accepted although code had changed, for your information", accepted.noted(saved, chosen))
    show("from older code, for your information", _older({unit_of(p) for p in chosen}))
    return int(bool(modified or stale or faults["missing"] or faults["damaged"]))


def _older(units):
    """What a line says of each commit that trained some units and whose code is not today's."""
    made = {}
    for unit in units:
        stage, record = unit.split("/")[2:3], Path(unit, "run.json")
        if stage and stage[0] in STAGES and record.exists():
            commit = read_json(record).get("commit") or "unknown"
            made.setdefault((commit, stage[0]), []).append(unit)
    lines = []
    for (commit, stage), found in sorted(made.items()):
        code = STAGES[stage].code
        status, printed, _ = store.run(["git", "diff", "--name-only", commit, "--", *code])
        changed = printed.split()
        if status or changed:
            why = f"then changed: {', '.join(changed[:2])} ..." if changed else "unknown here"
            lines.append(f"{len(found)} of stage {stage} by commit {commit[:12]} ({why})")
    return lines


def status(prefixes):
    """One line per prefix, and the folders that are not simply saved."""
    saved = Saved(prefixes)
    contents = Contents(saved)
    made = [path for path in records.outputs() if os.path.exists(path)]
    for prefix in prefixes:
        paths = {p for p in (*saved.job_of, *made) if under(p, [prefix])}
        contents.read(paths)
        units = {}
        for path in sorted(paths):
            units.setdefault(unit_of(path), []).append(path)
        states = {"saved": [], "modified": [], "not saved": [], "not pulled": []}
        for unit, members in units.items():
            states[_state(unit, members, saved, contents)].append(unit)
        print(f"{prefix}:", ", ".join(f"{len(found)} {state}" for state, found in states.items()))
        for state in ("modified", "not saved", "not pulled"):
            show(state, states[state])


def _state(unit, paths, saved, contents):
    if unit not in saved.units:
        return "not saved"
    here = [p for p in paths if contents.here(p)]
    if any(contents.here(p) != saved.sha(p) for p in here):
        return "modified"
    return "saved" if set(here) == set(paths) else "not pulled"
