"""`gear artifacts check` and `status`: are the results what was saved, and are they up to date?"""

import os
from pathlib import Path

from gear.artifacts import accepted, records, store
from gear.artifacts.restore import show
from gear.artifacts.transfer import kept
from gear.artifacts.units import DATA, PAGE, Contents, Saved, large, under, unit_of
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
    entries = {}
    for found in kept(saved, chosen, states=True).values():
        entries |= found
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
    """What a line says of each commit that trained some outputs and whose code is not today's."""
    made = {}
    for record in (Path(path) for path in outputs if os.path.basename(path) == "run.json"):
        stage = record.parts[-4]  # <stage>/<run>/<step>/run.json
        if stage in STAGES and record.exists():
            commit = read_json(record).get("commit") or "unknown"
            made.setdefault((commit, stage), []).append(record)
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
    """One line per prefix, and the runs and folders that are not simply saved."""
    saved = Saved(prefixes)
    contents = Contents(saved)
    made = [path for path in records.outputs() if os.path.exists(path)]
    for prefix in prefixes:
        paths = {p for p in (*saved.job_of, *made) if under(p, [prefix]) and not p.endswith(PAGE)}
        contents.read(paths)
        units = {}
        for path in sorted(paths):
            units.setdefault(unit_of(path), []).append(path)
        states = {"saved": [], "modified": [], "not saved": [], "not pulled": []}
        for unit, members in units.items():
            states[_state(members, saved, contents)].append(unit)
        print(f"{prefix}:", ", ".join(f"{len(found)} {state}" for state, found in states.items()))
        for state in ("modified", "not saved", "not pulled"):
            show(state, states[state])


def _state(paths, saved, contents):
    if not any(p in saved.job_of for p in paths):
        return "not saved"
    here = [p for p in paths if contents.here(p)]
    if any(contents.here(p) != saved.sha(p) for p in here):
        return "modified"
    return "saved" if set(here) == set(paths) else "not pulled"
