"""The images of a study, as `gear doctor` sees them: what the first rule would refuse, or ignore.

It counts names, and opens no image.
"""

import shlex
from collections import Counter
from pathlib import Path

from gear.cli.finding import MISSING, NOTE, OK, Finding
from gear.cli.run import command
from gear.data import manifest
from gear.data.counts import check
from gear.data.finding import list_images, no_files
from gear.data.folder import class_folders
from gear.data.listing import SPLITS, counts_of
from gear.files.mistakes import Mistake, counted, some
from gear.files.reading import read_record
from gear.study import fit
from gear.study.sources import sources

LARGE = 10**5  # listed training images, above which not all are counted


def data(study, target):
    """The images: made by a rule, or in a folder that the first rule will list."""
    root, spec = Path(study.data.path), study.spec["data"]
    if study.makes_data:
        yield Finding(OK, "data", f"{root} is made by the rule prepare_data")
        return
    try:
        where = manifest.places(root, spec.get("val_share"))
        pairs = manifest.folders(root, None, where)
    except Mistake as error:
        known = [s for s in sources().values() if s.file and Path(s.file) in (root, *root.parents)]
        yield Finding(MISSING, "data", str(error) + "".join(f" ({one})" for one in known))
        return
    for split in dict.fromkeys(where.values()):
        yield _classes(root / split, study.data.classes)
    one_folder, listed = where["train"] == where["val"], _listed(study)
    counts, faults = _counts(study, pairs, one_folder, listed)
    yield from (Finding(MISSING, "data", fault) for fault in faults)
    if not faults:
        yield _enough(study, counts)
    if listed is not None:
        yield from _changed(study, target, counts, listed)


def _classes(folder, classes):
    """Whether a folder has that many class folders."""
    try:
        class_folders(folder, classes)
    except Mistake as error:
        return Finding(MISSING, "data", str(error))
    return Finding(OK, "data", f"{folder} has {counted(classes, 'class folder')}")


def _listed(study):
    """{split: {class: images}} of the list that prepare_data made, or None."""
    path = Path(study.manifest())
    if not path.is_file():
        return None
    content = read_record(path)
    return {split: counts_of(content, split, path) for split in SPLITS}


def _counts(study, pairs, one_folder, listed):
    """({split: {class: images}}, [sentences on class folders that the first rule refuses]).

    one_folder: train and val are divided from the same class folders. Of a large training set only
    as many images are counted as the study needs."""
    share, seed = study.spec["data"].get("val_share"), study.spec["data"].get("seed", 0)
    least = max(n["least"] or 0 for n in fit.needs(study) if n["split"] == "train")
    size = sum((listed or {}).get("train", {}).values()) if listed else LARGE + 1
    few = one_folder or size <= LARGE
    found, empty, faults = {split: {} for split in SPLITS}, [], []
    for split, folder in pairs:
        if split == "train" and not few and sum(found["train"].values()) >= least:
            continue  # a million files are not counted here
        names, _ = list_images(folder)
        if odd := no_files(folder):
            faults.append(f"{folder}: {_odd(odd)}")
        try:
            if one_folder and names:
                names = manifest.divided(names, share, seed, folder.name)[split]
        except Mistake as error:
            faults.append(str(error))
        empty += [] if names else [str(folder)]
        found[split][folder.name] = len(names)
    if empty:
        empty = list(dict.fromkeys(empty))
        holds, it = ("holds", "it") if len(empty) == 1 else ("hold", "them")
        faults.append(f"{some(empty)} {holds} no images; remove {it} or fill {it}.")
    return found, list(dict.fromkeys(faults))


def _odd(names):
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return f"{some(names)} {are} no file (a pipe or a link to nothing); replace or remove {them}."


def _enough(study, counts):
    """Whether there are as many images as trainings, protocols and analyses need."""
    root, numbers = study.data.path, {split: sum(counts[split].values()) for split in SPLITS}
    try:
        check(numbers, fit.needs(study), root)
    except Mistake as error:
        return Finding(MISSING, "data", str(error))
    val = counted(numbers["val"], "validation image")
    return Finding(OK, "data", f"{root}: {val}, enough for the study")


def _changed(study, target, counts, listed):
    """A note where a class has another number of images than in the list that jobs read."""
    now, then = Counter(), Counter()
    for split in SPLITS:
        now += Counter(counts[split])
        then += Counter({name: listed.get(split, {}).get(name, 0) for name in counts[split]})
    other = [name for name in sorted(now | then) if now[name] != then[name]]
    if not other:
        return
    words = [target, "--forcerun", "prepare_data"]
    again = command(words, study.name, str(Path(study.root).parent))
    more = f", and {len(other) - 1} more" if len(other) > 1 else ""
    yield Finding(
        NOTE,
        "data",
        f"{study.data.path} has changed since it was listed (class '{other[0]}' had "
        f"{counted(then[other[0]], 'image')} and has {now[other[0]]}{more}), and jobs read the "
        f"list; this lists it and trains again: {shlex.join(again)}",
    )
