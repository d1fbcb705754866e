"""The index of captioned shards, made by the rule prepare_captions and read by every job.

`manifest.json` names the shards of both splits, with their size in bytes, their number of samples
and a probe of their content. It also counts what is not used, and why. Beside it, `train.npy` and
`val.npy` have a row for each sample (gear.data.tars.ROW), in the order of the shards' names. These
files are read through a memory map, so that 100 million samples cost a training no memory.
`skipped.txt` has a line for each sample that cannot be used.

If more than LIMIT of a split's samples cannot be used, no manifest is written.
"""

import multiprocessing
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from gear.data import tars
from gear.data.digits import SPLITS
from gear.data.manifest import SECONDS, processes
from gear.files.mistakes import Mistake, counted
from gear.files.reading import read_record, require_file, required

SKIPPED = "skipped.txt"
LIMIT = 0.01  # of the samples may be skipped
SMALL = 2**28  # bytes; if all shards together have no more, this process reads them itself
AGAIN = "remove it and make it again with the rule prepare_captions"


def prepare(path, output, expected=None):
    """The manifest of the shards below `path`. It is written to `output`, with the index beside it.

    expected: {split: number of samples, or None if it is not known}. Mistake: shards are missing or
    damaged, too many samples cannot be used, or the number of samples is another one."""
    from gear.files.aside import aside, write_json

    beside = Path(output).parent
    beside.mkdir(parents=True, exist_ok=True)
    if not Path(path).is_dir():
        raise Mistake(
            f"settings.data.path: {path} is no folder; put the shards there as <split>/*.tar, or "
            "name their folder (a relative path begins at the repository's top folder)."
        )
    names = [(split, name) for split in SPLITS for name in tars.shards_of(Path(path) / split)]
    places = [Path(path) / split / name for split, name in names]
    sizes = [require_file(place, tars.DAMAGED) for place in places]
    small = sum(sizes) <= SMALL
    skipped = []
    with ExitStack() as stack:
        parts = {split: stack.enter_context(aside(beside / f"{split}.npy")) for split in SPLITS}
        records = {s: stack.enter_context(_Split(f"{s}.npy", part)) for s, part in parts.items()}
        for (split, name), size, found, digest in _progress(names, sizes, places, small):
            records[split].add(name, size, digest, found)
            skipped += [f"{split}/{name}\t{_plain(key)}\t{why}\n" for key, why in found.skipped]
        manifest = {"path": str(path)}
        manifest["splits"] = {split: record.end() for split, record in records.items()}
        _check(path, manifest["splits"], skipped, beside / SKIPPED, expected or {})
    write_json(output, manifest)
    return manifest


def look(path):
    """(Found, probe) of a shard."""
    return tars.examine(path), tars.probe(path)


def _progress(names, sizes, places, small):
    """Yields ((split, name), bytes, Found, probe) of each shard; says on stderr how far it is."""
    began = printed = time.monotonic()
    samples = done = 0
    for name, size, (found, digest) in zip(names, sizes, _looked(places, small), strict=True):
        yield name, size, found, digest
        samples, done, now = samples + len(found.rows), done + 1, time.monotonic()
        if now - printed > SECONDS or done == len(names):
            printed, pace = now, done / max(now - began, 1e-9)
            print(
                f"{done}/{len(names)} shards {100 * done // len(names)}%  {samples} samples  "
                f"{samples / max(now - began, 1e-9):.0f} samples/s  "
                f"{(len(names) - done) / pace:.0f} s left",
                file=sys.stderr,
                flush=True,
            )


def _looked(places, small):
    """Yields what `look` says of each shard, in order."""
    if small:  # processes would take longer to start
        yield from map(look, places)
        return
    with ProcessPoolExecutor(processes(), multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(look, places)
        except BrokenProcessPool:
            raise Mistake(
                "a process that reads shards was killed, perhaps because memory was full; ask for "
                "more memory and run again."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


class _Split:
    """The index of one split while it is written, to a temporary file."""

    def __init__(self, name, part):
        self.name, self.part, self.file = name, part, open(part, "wb")
        self.shards, self.count = [], 0
        self.skipped, self.ignored, self.captions = Counter(), Counter(), Counter()
        self._head()

    def _head(self):
        # numpy leaves room in the header, so that a later one with the number has the same length
        self.file.seek(0)
        shape = {"descr": tars.ROW.descr, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(self.file, shape)

    def add(self, name, size, digest, found):
        record = {"name": name, "bytes": size, "probe": digest, "samples": len(found.rows)}
        self.shards.append(record)
        self.count += len(found.rows)
        self.skipped += Counter(why for _, why in found.skipped)
        self.ignored += found.ignored
        self.captions += found.captions
        self.file.write(found.rows.tobytes())

    def end(self):
        """The split's part of the manifest."""
        self._head()
        self.file.flush()
        return {
            "samples": self.count,
            "shards": self.shards,
            "index": {"file": self.name, "probe": tars.probe(self.part)},
            "unconditional": {why: self.captions[why] for why in ("empty", "no text")},
            "skipped": dict(sorted(self.skipped.items())),
            "not_read": dict(sorted(self.ignored.items())),
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def _plain(key):
    """A key that UTF-8 can say."""
    return key.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


def _check(path, splits, skipped, listed, expected):
    """Write the list of skipped samples.

    Mistake: too many are skipped, or the number of samples is not the expected one."""
    from gear.files.aside import write

    write(listed, "".join(skipped))
    for split, record in splits.items():
        lost = sum(record["skipped"].values())
        if lost > LIMIT * (record["samples"] + lost):
            why = ", ".join(f"{n} {reason}" for reason, n in record["skipped"].items())
            raise Mistake(
                f"{path}/{split}: {lost} of {counted(record['samples'] + lost, 'sample')} cannot "
                f"be used ({why}), more than {LIMIT:.0%}; correct what {listed} lists, and run "
                "again."
            )
        number = expected.get(split)
        if number is not None and number != record["samples"]:
            raise Mistake(
                f"{path}/{split} holds {counted(record['samples'], 'sample')}, but {number} are "
                f"expected; complete the folder, or correct captions.{split} in the study's file."
            )


class Index:
    """The samples of one split, by number: in the order of the shards' names, then of the tars."""

    def __init__(self, manifest, split, path):
        """manifest: path of manifest.json; path: data.path.

        Mistake: the manifest is of another path, or the index is missing or of another manifest."""
        record = read_record(manifest)
        if "splits" not in record:
            raise Mistake(f"{manifest} is of another kind of data than shards; {AGAIN}.")
        if required(record, "path", str, manifest, AGAIN) != path:
            raise Mistake(f"{manifest} is of {record['path']}, but data.path is {path}; {AGAIN}.")
        content = required(record["splits"], split, dict, manifest, AGAIN)
        shards = required(content, "shards", list, manifest, AGAIN)
        for shard in shards:
            for name, kind in (("name", str), ("probe", str), ("bytes", int), ("samples", int)):
                required(shard, name, kind, manifest, AGAIN)
        index = required(content, "index", dict, manifest, AGAIN)
        self.path = Path(manifest).parent / required(index, "file", str, manifest, AGAIN)
        self.folder, self._shards = f"{path}/{split}", shards
        self.counts = np.array([shard["samples"] for shard in shards])
        self.ends = np.cumsum(self.counts)
        self.rows = self._rows(required(index, "probe", str, manifest, AGAIN))

    def _rows(self, digest):
        require_file(self.path, "make it again with the rule prepare_captions")
        fault = Mistake(
            f"{self.path} is not the index that its manifest.json states; remove both and make "
            "them again with the rule prepare_captions."
        )
        if tars.probe(self.path) != digest:
            raise fault
        try:
            rows = np.load(self.path, mmap_mode="r")
        except (ValueError, OSError):
            raise fault from None
        if rows.dtype != tars.ROW or rows.shape != (self.ends[-1],):
            raise fault
        return rows

    def __len__(self):
        return len(self.rows)

    def shard(self, number):
        """The path of the shard of a sample."""
        place = int(np.searchsorted(self.ends, number, "right"))
        return f"{self.folder}/{self._shards[place]['name']}"

    def check(self, shard):
        """Mistake where a shard, by its path, is not the one that was indexed."""
        name = shard.rpartition("/")[2]
        record = next(r for r in self._shards if r["name"] == name)
        size = require_file(shard, tars.DAMAGED)
        if size != record["bytes"] or tars.probe(shard) != record["probe"]:
            raise Mistake(
                f"{shard} has changed since it was indexed; run prepare_captions again, or put the "
                "former file there."
            )

    def key(self, number):
        """The key of a sample. Mistake: the shard has changed."""
        row = self.rows[number]
        return tars.key_at(self.shard(number), int(row["json"]) - int(row["head"]))
