"""`gear artifacts check` and `status`: compare the results with their records."""

import os
from pathlib import Path

from gear.artifacts import accepted, records, store
from gear.artifacts.restore import show
from gear.artifacts.transfer import kept
from gear.artifacts.units import DATA, PAGE, Contents, Saved, large, under, unit_of
from gear.files.reading import read_record
from gear.study.stages import STAGES


def check(prefixes):
    """Print what is wrong with saved results. Returns 1 if anything is, else 0.

    Compared are each file with its record, each record with the records of its inputs, and each
    object of the cache with its name. No file is changed."""
    saved = Saved(prefixes)
    chosen = saved.chosen(prefixes)
    contents = Contents(saved, thorough=True)
    contents.read([*chosen, *(p for path in chosen for p in saved.job_of[path]["inputs"])])
    modified = [p for p in chosen if contents.here(p) not in (None, saved.sha(p))]
    entries = {}
    for part in kept(saved, chosen, states=True).values():
        entries |= part
    data = [path for path in entries if under(path, [DATA]) and os.path.exists(path)]
    modified += store.changed_data(data) if data else []
    stale = []
    for path in chosen:
        changed = contents.changed(saved.job_of[path])
        stale += [f"{path} (from another {changed[0]})"] if changed else []
    faults = {"missing": [], "damaged": []}
    for path, cached, fault in store.faults(entries):
        faults[fault].append(f"{path} ({cached})")
    absent = [p for p in large(chosen) if not os.path.exists(p)]
    print(f"checked {len(chosen)} saved files; {len(absent)} large ones are not pulled")
    show("not what was saved: save them, or delete and pull them", modified)
    show("stale: run Snakemake again, then save", stale)
    show("missing in the cache: save or pull them again", faults["missing"])
    show("damaged in the cache: delete the object, then pull or save again", faults["damaged"])
    show("accepted although code had changed, for your information", accepted.noted(saved, chosen))
    show("from older code, for your information", _older(chosen))
    return int(bool(modified or stale or faults["missing"] or faults["damaged"]))


def _older(outputs):
    """One line per older commit whose code trained some of these outputs."""
    trained = {}
    for record in (Path(path) for path in outputs if os.path.basename(path) == "run.json"):
        stage = record.parts[-4]  # <stage>/<run>/<step>/run.json
        if stage in STAGES and record.exists():
            commit = str(read_record(record).get("commit") or "unknown")
            trained.setdefault((commit, stage), []).append(record)
    lines = []
    for (commit, stage), runs in sorted(trained.items()):
        code = STAGES[stage].code
        status, printed, _ = store.run(["git", "diff", "--name-only", commit, "--", *code])
        changed = printed.split()
        if status or changed:
            why = f"then changed: {', '.join(changed[:2])} ..." if changed else "unknown here"
            lines.append(f"{len(runs)} of stage {stage} by commit {commit[:12]} ({why})")
    return lines


def status(prefixes):
    """Print one line per prefix, and the runs and folders that are not saved or changed."""
    saved = Saved(prefixes)
    contents = Contents(saved)
    existing = [path for path in records.outputs() if os.path.exists(path)]
    for prefix in prefixes:
        paths = {
            p for p in (*saved.job_of, *existing) if under(p, [prefix]) and not p.endswith(PAGE)
        }
        contents.read(paths)
        units = {}
        for path in sorted(paths):
            units.setdefault(unit_of(path), []).append(path)
        states = {"saved": [], "modified": [], "not saved": [], "not pulled": []}
        for unit, members in units.items():
            states[_state(members, saved, contents)].append(unit)
        print(f"{prefix}:", ", ".join(f"{len(names)} {state}" for state, names in states.items()))
        for state in ("modified", "not saved", "not pulled"):
            show(state, states[state])


def _state(paths, saved, contents):
    if not any(p in saved.job_of for p in paths):
        return "not saved"
    here = [p for p in paths if contents.here(p)]
    if any(contents.here(p) != saved.sha(p) for p in here):
        return "modified"
    return "saved" if set(here) == set(paths) else "not pulled"
