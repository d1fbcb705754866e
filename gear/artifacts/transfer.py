"""`gear artifacts push` and `pull`: large files to and from the remote, in one call of dvc."""

import os

from gear.artifacts import store
from gear.artifacts.restore import restore, show
from gear.artifacts.units import Contents, Saved, unit_of
from gear.files.mistakes import Mistake


def dvc_files(outputs, states=False):
    """The .dvc files that keep some saved outputs; with `states` also their training states."""
    units = dict.fromkeys(unit_of(path) for path in outputs)
    files = [f"{unit}.dvc" for unit in units]
    if states:
        files += dict.fromkeys(f"{os.path.dirname(unit)}/state.dvc" for unit in units)
    return [file for file in files if os.path.exists(file)]


def _chosen(prefixes, inputs, states):
    """(what was saved, .dvc files under the prefixes), once there is a remote to talk to."""
    saved = Saved(prefixes)
    files = dvc_files(saved.chosen(prefixes, inputs), states)
    if not files:
        raise Mistake(
            f"there are no large files under {' '.join(prefixes)}; git has all of it, and --inputs "
            "adds what it was made from."
        )
    if not store.remote():
        raise Mistake("no remote is set; name one first: gear artifacts remote URL")
    return saved, files


def _size(files):
    entries = [entry for file in files for entry in store.outs(file).values()]
    return f"{len(entries)} large files, {sum(entry['size'] for entry in entries) / 1e9:.3f} GB"


def push(prefixes, inputs=False, states=False):
    """Copy large files to the remote. Mistake where the cache lacks some."""
    _, files = _chosen(prefixes, inputs, states)
    print(f"push {_size(files)}", flush=True)
    try:
        store.dvc("push", *files)
    except Mistake as error:
        lacking = store.missing(files)
        raise Mistake(f"{lacking[0]}: {error}" if lacking else str(error)) from None


def pull(prefixes, inputs=False, states=False):
    """Get large files from the remote, check their sha256, restore. Returns 1 where some are not
    what was saved or did not come; files that were changed here are not touched."""
    saved, files = _chosen(prefixes, inputs, states)
    expected = {p: saved.sha(p) for file in files for p in store.outs(file) if saved.sha(p)}
    contents = Contents(saved)
    contents.read(expected)
    changed = [p for p, sha in expected.items() if contents.here(p) not in (None, sha)]
    if changed:
        raise Mistake(
            f"{changed[0]} was changed here, and pull would overwrite it; save it, or delete it "
            "and pull again."
        )
    print(f"pull {_size(files)}", flush=True)
    failure = None
    try:
        store.dvc("pull", *files)
    except Mistake as error:  # what could be had is there
        failure = error
    contents = Contents(saved)
    contents.read(expected)
    wrong = [p for p in expected if contents.here(p) not in (None, expected[p])]
    absent = [p for file in files for p in store.outs(file) if not os.path.exists(p)]
    restore(prefixes)
    show("damaged in the remote or the cache, do not use", wrong)
    show("neither in the cache nor, undamaged, in the remote; push from where they are", absent)
    if failure and not absent:
        raise failure
    return int(bool(wrong or absent))
