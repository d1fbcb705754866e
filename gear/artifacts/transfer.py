"""`gear artifacts push` and `pull`: copy large files to and from the remote."""

import os

from gear.artifacts import store
from gear.artifacts.restore import restore, show
from gear.artifacts.units import Contents, Saved, large, unit_of
from gear.files.mistakes import Mistake


def kept(saved, outputs, states=False):
    """{.dvc file: {path: entry}} of the large files among some saved outputs.

    states: include all training states of their runs."""
    chosen = set(large(outputs))
    files = {}
    for name in dict.fromkeys(saved.record_of[path] for path in outputs):
        entries = store.outs(f"{name}.dvc")
        files[f"{name}.dvc"] = {path: entries[path] for path in entries if path in chosen}
    if states:
        files |= {file: store.outs(file) for file in map(state_file, map(unit_of, outputs))}
    return {file: entries for file, entries in files.items() if entries}


def state_file(run):
    """The .dvc file of a run's training states."""
    return f"{run}/state.dvc"


def _chosen(prefixes, inputs, states):
    """(Saved, {path: entry} of large files, dvc's targets for them).

    Mistake: there are no large files under the prefixes, or no remote is set or there."""
    saved = Saved(prefixes)
    files = kept(saved, saved.chosen(prefixes, inputs), states)
    if not files:
        raise Mistake(
            f"there are no large files under {' '.join(prefixes)}; git has all of it, and --inputs "
            "adds what it was made from."
        )
    store.require_remote(store.remote())
    entries = {path: entry for part in files.values() for path, entry in part.items()}
    # a target may be a .dvc file or a path in one; dvc skips some paths if a call mixes the two
    whole = all(part == store.outs(file) for file, part in files.items())
    return saved, entries, [*files] if whole else [*entries]


def _size(entries):
    size = sum(entry["size"] for entry in entries.values()) / 1e9
    return f"{len(entries)} large files, {size:.3f} GB"


def push(prefixes, inputs=False, states=False):
    """Copy large files to the remote. Mistake: dvc failed, or the cache lacks a file."""
    _, entries, targets = _chosen(prefixes, inputs, states)
    print(f"push {_size(entries)}", flush=True)
    try:
        store.dvc("push", *targets)
    except Mistake as error:
        lacking = store.missing(entries)
        if not lacking:
            raise
        through = len(entries) - len(lacking)
        print(f"{through} of {len(entries)} are in the remote; not there: {', '.join(lacking)}")
        raise Mistake(f"{lacking[0]}: {error}") from None


def pull(prefixes, inputs=False, states=False):
    """Copy large files from the remote, check their sha256, then restore.

    Returns 1 if a file is damaged or did not arrive, else 0. Mistake: a file was changed here."""
    saved, entries, targets = _chosen(prefixes, inputs, states)
    expected = {path: saved.sha(path) for path in entries if saved.sha(path)}
    contents = Contents(saved)
    contents.read(expected)
    changed = [p for p, sha in expected.items() if contents.here(p) not in (None, sha)]
    if changed:
        raise Mistake(
            f"{changed[0]} was changed here, and pull would overwrite it; save it, or delete it "
            "and pull again."
        )
    print(f"pull {_size(entries)}", flush=True)
    failure = None
    try:
        store.dvc("pull", *targets)
    except Mistake as error:  # the files that arrived are kept
        failure = error
    contents = Contents(saved)
    contents.read(expected)
    wrong = [p for p in expected if contents.here(p) not in (None, expected[p])]
    absent = [path for path in entries if not os.path.exists(path)]
    restore(prefixes)
    show("damaged in the remote or the cache, do not use", wrong)
    show("neither in the cache nor, undamaged, in the remote; push from where they are", absent)
    if failure and not absent:
        raise failure
    return int(bool(wrong or absent))
