"""The manifest of an image folder, after a check of the folder.

    python -m gear.data.manifest --path DIR --classes 1000 --output DIR/manifest.json
        [--train 1281167] [--val 50000] [--val-share 0.1 --seed 0] [--fit JSON]

The first minute checks both splits, the number of class folders, the same classes in both splits,
one decoded image of each class and the number of images. Then the header and the end of every file
are checked. Unreadable files are listed in `unreadable.txt`; then no manifest is written.

The manifest holds the classes in the order of their labels, the number of images of each class,
the entries of the folder that are not read (gear/data/finding.py), the number of images that are
smaller than the usual resolutions (they will be enlarged), and the sha256 of the list of files
(gear/data/listing.py). Every job reads that list instead of a thousand folders. The manifest does
not depend on a run's resolution.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from gear.data import counts, survey
from gear.data.finding import list_images, said
from gear.data.folder import class_folders, require_classes, visible
from gear.data.listing import SPLITS, write_listing
from gear.files.mistakes import Mistake, counted, some

UNREADABLE = "unreadable.txt"
FEW = 10**4  # images that are all checked although the first of a class is no image
SECONDS = 5.0  # between two lines of progress


def processes():
    """Number of processes: twice the cores, because they mostly wait for the disk."""
    return min(32, 2 * len(os.sched_getaffinity(0)))


def places(path, share=None):
    """{split: folder below `path`}: train and val, or one folder for both, which is divided.

    `path` holds train/ and val/, or train/ alone, or the class folders themselves. share: the share
    of the images that becomes val where there is none. Mistake: no folder; no val/ and no share."""
    path = Path(path)
    if not path.is_dir():
        fault = "is a file and no folder" if path.exists() else "does not exist"
        raise Mistake(
            f"settings.data.path: {path} {fault}; put the images there as <split>/<class>/<image>, "
            "or name their folder (a relative path begins at the repository's top folder)."
        )
    here = {split: split for split in SPLITS if (path / split).is_dir()}
    if "val" in here:
        return {split: split for split in SPLITS}
    if share is None and ("train" in here or any(p.is_dir() for p in visible(path))):
        raise Mistake(
            f"{path} has no folder val; put validation images there, or set data.val_share: 0.1 in "
            "the study's file, which splits off a tenth of the others."
        )
    if share is None:
        return {split: split for split in SPLITS}
    return dict.fromkeys(SPLITS, here.get("train", ""))


def divided(names, share, seed, label):
    """{split: sorted names} of one class: `share` of them becomes val, at least one.

    A name's place depends on the seed, the class and the name alone, so that the same files are
    divided in the same way everywhere. Mistake: fewer than two names."""
    if len(names) < 2:
        raise Mistake(
            f"class '{label}' has {counted(len(names), 'image')}, too few to be divided into train "
            "and val; add images, or remove the class."
        )
    rank = {name: hashlib.sha256(f"{seed}/{label}/{name}".encode()).digest() for name in names}
    count = min(max(1, round(share * len(names))), len(names) - 1)
    val = set(sorted(names, key=rank.get)[:count])
    return {"train": [n for n in names if n not in val], "val": sorted(val)}


def folders(path, classes, where=None):
    """[(split, class folder)], sorted by split and name.

    where: see `places`; classes: their number, or None if it is not known. Mistake: a split
    without class folders, a class in only one split, or another number of classes."""
    pairs, where = [], where or {split: split for split in SPLITS}
    for split in SPLITS:
        folder = Path(path) / where[split]
        inside = visible(folder) if folder.is_dir() else []
        if inside and not any(p.is_dir() for p in inside):
            raise Mistake(
                f"{folder} has no class folders, but {counted(len(inside), 'file')} side by side; "
                "put its images into one folder for each class, named as in the other split."
            )
        pairs += [(split, p) for p in class_folders(folder, None)]
    train, val = ({p.name for s, p in pairs if s == split} for split in SPLITS)
    lacks = {"val": sorted(train - val), "train": sorted(val - train)}
    if train != val:
        said = " and ".join(f"{split} lacks {some(n)}" for split, n in lacks.items() if n)
        raise Mistake(f"{path}: {said}; train and val must have the same class folders.")
    for split in SPLITS:
        require_classes(Path(path) / where[split], [p for s, p in pairs if s == split], classes)
    return pairs


def list_files(path, pairs, pool, expected, where=None, share=None, seed=0):
    """({split: {class: sorted file names}}, {split: Counter of what is not read}).

    where: see `places`; share: of each class, becomes val; None: each split has folders of its
    own. Mistake: another number of images than expected."""
    files, left_out = {split: {} for split in SPLITS}, {split: Counter() for split in SPLITS}
    listed = pool.map(list_images, [folder for _, folder in pairs])
    for (split, folder), (names, others) in zip(pairs, listed, strict=True):
        if share is not None:
            names = divided(names, share, seed, folder.name)[split]
        files[split][folder.name] = names
        left_out[split] += others
    for split in SPLITS:
        beside, others = list_images(Path(path) / (where or {}).get(split, split))
        del others["folder"]  # the classes
        left_out[split] += others + Counter({"beside the class folders": len(beside)})
    for split, number in expected.items():
        count = sum(map(len, files[split].values()))
        if number is not None and count != number:
            raise Mistake(
                f"{path}/{split} holds {counted(count, 'image')}, but {number} are expected; "
                f"complete the folder, or correct data.{split} in the study's file."
            )
    return files, left_out


def examine(path, pairs, files, pool):
    """({split: {pixels: number of smaller images}}, [(unreadable file below `path`, reason)])."""
    small, bad = {split: dict.fromkeys(survey.RESOLUTIONS, 0) for split in SPLITS}, []
    names = [files[split][folder.name] for split, folder in pairs]
    total, count = sum(map(len, names)), 0
    began = printed = time.monotonic()
    results = pool.map(survey.examine, [folder for _, folder in pairs], names)
    for (split, folder), files_here, (smaller, unreadable) in zip(
        pairs, names, results, strict=True
    ):
        for pixels, number in smaller.items():
            small[split][pixels] += number
        bad += [((folder / name).relative_to(path).as_posix(), why) for name, why in unreadable]
        count, now = count + len(files_here), time.monotonic()
        if now - printed > SECONDS or count == total:
            printed, pace = now, count / (now - began)
            print(
                f"{count}/{total} images {100 * count // total}%  {len(bad)} unreadable  "
                f"{pace:.0f} images/s  {(total - count) / pace:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
    return small, bad


def _require_first(mistakes, total):
    """Mistake where the first image of a class is none, and to look at all images takes long."""
    bad = [mistake for mistake in mistakes if mistake]
    if bad and total > FEW:
        raise bad[0]


def _refuse(path, bad, beside):
    """Mistake: images cannot be read; `beside`/UNREADABLE then lists them with the reasons."""
    from gear.files.aside import write

    bad = sorted(bad)
    write(beside / UNREADABLE, "".join(f"{name}\t{why}\n" for name, why in bad))
    (name, why), more = bad[0], len(bad) - 1
    others = f" and {more} more" if more else ""
    what = f"what {beside / UNREADABLE} lists" if more else "it"
    raise Mistake(
        f"{path}: {name}{others} cannot be read as an image ({why}); replace or remove {what}, and "
        "run again."
    )


def prepare(path, classes, output, expected=None, share=None, seed=0, asked=None):
    """The manifest, written to `output`, with the list of files in the same folder.

    expected: {split: number of images, or None if it is not known}; share, seed: how images are
    split off where there is no val/; asked: what the study needs (gear.study.fit.line). Mistake: a
    wrong folder, unreadable images, or images that do not fit the study."""
    from gear.files.aside import write_json

    beside, asked = Path(output).parent, asked or {}
    (beside / UNREADABLE).unlink(missing_ok=True)
    where = places(path, share)
    share = share if where["train"] == where["val"] else None
    pairs = folders(path, classes, where)
    with ProcessPoolExecutor(processes(), multiprocessing.get_context("spawn")) as pool:
        try:
            once = list(dict.fromkeys(folder for _, folder in pairs))
            first = list(pool.map(survey.try_one, once, [asked.get("size")] * len(once)))
            files, left_out = list_files(path, pairs, pool, expected or {}, where, share, seed)
            numbers = {s: sum(map(len, files[s].values())) for s in SPLITS}
            _require_first(first, sum(numbers.values()))
            counts.check(numbers, asked.get("needs", ()), path)
            small, bad = examine(path, pairs, files, pool)
        except BrokenProcessPool:
            raise Mistake(
                f"a process that reads {path} was killed, perhaps because memory was full; ask "
                "for more memory and run again."
            ) from None
    if bad:
        _refuse(path, bad, beside)
    manifest = {
        "path": str(path),
        "images": {s: {c: len(names) for c, names in files[s].items()} for s in SPLITS},
        "smaller_than": {s: {str(p): n for p, n in small[s].items()} for s in SPLITS},
        "unreadable": [],
        "classes": list(files["train"]),  # in the order of their labels
        "left_out": {s: dict(left_out[s]) for s in SPLITS},
        "listing": write_listing(beside, files),
    }
    if share is not None:
        manifest |= {"places": where, "val_share": share, "seed": seed}
    write_json(output, manifest)
    return manifest


def main():
    parser = argparse.ArgumentParser(description="List an image folder's files, once checked.")
    parser.add_argument("--path", required=True, help="holds train and val, or class folders")
    parser.add_argument("--classes", required=True, type=int)
    parser.add_argument("--output", required=True, help="manifest.json")
    for split in SPLITS:
        parser.add_argument(f"--{split}", type=int, help="images that it must hold")
    parser.add_argument("--val-share", type=float, help="split off where there is no val")
    parser.add_argument("--seed", type=int, default=0, help="of that split")
    parser.add_argument("--fit", type=json.loads, default={}, help="JSON of gear.study.fit.line")
    args = parser.parse_args()
    expected = {"train": args.train, "val": args.val}
    split = {"share": args.val_share, "seed": args.seed}
    manifest = prepare(
        args.path, args.classes, args.output, expected, **split, asked=args.fit or None
    )
    for split in SPLITS:
        count, small = sum(manifest["images"][split].values()), _small(manifest, split, args.fit)
        print(f"{split}: {count} images{small}")
        if manifest["left_out"][split]:
            print(f"{split}: not read as images: {said(manifest['left_out'][split])}")
    print(f"classes, in the order of their labels: {some(manifest['classes'])}")
    if "places" in manifest:
        print(f"val is a share of {args.val_share:g} of each class, split off by the files' names")


def _small(manifest, split, asked):
    """The words on images below the usual resolutions, as far as the study's are as large."""
    widest = asked.get("widest", max(survey.RESOLUTIONS))
    small = {p: n for p, n in manifest["smaller_than"][split].items() if int(p) <= widest}
    words = ", ".join(f"{p} pixels {n}" for p, n in small.items())
    return f"; with a short side below {words}" if words else ""


if __name__ == "__main__":
    main()
