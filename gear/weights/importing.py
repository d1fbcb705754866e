"""Import of public weights into our checkpoint folders: weights.safetensors and run.json.

A file with a tokenizer or an AR becomes the folder DEST. A file with both becomes DEST/tokenizer
and DEST/ar. The prefixes are those of a trained checkpoint: `tokenizer` and `ar` are the averages,
`live.tokenizer` and `live.ar` are the weights that training continues from. run.json says which
entry of the file became which prefix, and names the file's key for each of our keys.

python -m gear.weights.importing --job JSON --output DIR      (the rule; people type `gear import`)
"""

import argparse
import dataclasses
import json
import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from gear import config
from gear.files import hashes
from gear.files.mistakes import Mistake
from gear.files.outputs import require_writable
from gear.files.reading import read_record
from gear.foreign import convert, source
from gear.runtime import checkpoint, provenance
from gear.weights import layouts
from gear.weights.networks import ar_settings, network


def log(text):
    print(text, file=sys.stderr, flush=True)


# ---- one folder ------------------------------------------------------------------------------


class Folder:
    """The content of a checkpoint folder: weights under their prefixes, and their record."""

    def __init__(self, settings):
        self.settings = settings
        self.weights, self.entries, self.mapping, self.parameters = {}, {}, {}, {}

    def add(self, taken, where):
        module, mapping = network(taken.kind, self.settings, taken.tensors)
        shapes = {k: v.shape for k, v in module.state_dict().items()}
        assert mapping.keys() == shapes.keys(), "a mapping names other keys than the network"
        convert.check(taken, mapping, shapes, where)
        if not taken.prefixes:
            log(f"left out: {taken.name}, {len(taken.tensors)} tensors, as there is an average")
            return
        state = convert.to_ours(taken, mapping, where)
        self.parameters[taken.kind] = sum(p.numel() for p in module.parameters())
        for prefix in taken.prefixes:
            self.weights[prefix] = state
            self.entries[prefix] = taken.name
            for ours, theirs in mapping.items():
                self.mapping[f"{prefix}.{ours}"] = " + ".join(taken.spell(t) for t in theirs)
        log(
            f"{taken.name}: {len(taken.tensors)} tensors, {self.parameters[taken.kind]:,} "
            f"parameters -> {' and '.join(taken.prefixes)}"
        )

    def record(self, origin):
        return {
            "settings": dataclasses.asdict(self.settings),
            "difference": config.difference(self.settings),
            "steps": 0,
            "status": "imported",
            "collapsed_at": None,
            "parameters": self.parameters,
            "source": origin,
            "weights": self.entries,
            "keys": self.mapping,
            "inputs": {origin["path"]: origin["sha256"]},
            **provenance.environment(),
        }


def folders(content, networks, sizes, resolution, where, slots=None):
    """{'tokenizer' or 'ar': Folder} of the parts that the file has.

    content: layouts.Found; the other arguments: see import_weights. Mistake: the file holds another
    kind of tokenizer, or a part without the network that it belongs to."""
    if content.quantizer not in (None, *networks):
        raise Mistake(
            f"{where} holds a tokenizer of kind {content.quantizer}; wanted here: "
            f"{' or '.join(networks)}."
        )
    base, parts = networks[content.quantizer or next(iter(networks))], {}
    live = {"tokenizer": "vq", "ar": "ar"}
    for taken in content.taken:
        place = "ar" if taken.kind in ("ar", "projector") else "tokenizer"
        if place not in parts:
            if taken.kind not in live:
                raise Mistake(
                    f"{where} holds '{taken.name}' but no '{live[place]}' that it belongs to."
                )
            settings = base
            if place == "ar":
                settings = ar_settings(taken.tensors, base, sizes, resolution, where, slots)
            parts[place] = Folder(settings)
        parts[place].add(taken, where)
    return parts


# ---- the whole file --------------------------------------------------------------------------


def _listed(left_out):
    """The keys that were left out, as 'args, loss* (97 keys)'."""

    def group(key):
        for start in (f"{p}{helper}" for p in ("", "model_ema.") for helper in layouts.HELPERS):
            if key.startswith(start):
                return f"{start}*"
        return key

    count = Counter(map(group, left_out))
    return ", ".join(f"{k} ({n} keys)" if n > 1 else k for k, n in count.items())


def _refuse_other(dest, sha256):
    """Mistake where `dest` holds anything but an import of the same file."""
    for folder in (dest, dest / "tokenizer", dest / "ar"):
        record = folder / "run.json"
        if not record.exists() and not (folder / "weights.safetensors").exists():
            continue
        origin = read_record(record).get("source") if record.exists() else None
        origin = origin if isinstance(origin, dict) else {}
        if origin.get("sha256") != sha256:
            raise Mistake(
                f"{folder} holds other weights ({origin.get('name', 'not imported')}); name "
                "another folder, or remove that one."
            )


def _write(parts, dest, origin):
    """The folders, written aside first and then renamed; run.json is renamed last.

    After a failure `dest` is as it was before."""
    targets = {name: dest / name if len(parts) > 1 else dest for name in parts}
    aside = dest.parent / f".{dest.name}.{os.getpid()}.part"
    try:
        for name, folder in parts.items():
            checkpoint.save_folder(aside / name, folder.weights, folder.record(origin))
        for name, target in targets.items():
            target.mkdir(parents=True, exist_ok=True)
            for file in ("weights.safetensors", "run.json"):
                os.replace(aside / name / file, target / file)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return list(targets.values())


def import_weights(
    path,
    dest,
    layout,
    networks,
    sizes,
    resolution=None,
    sha256=None,
    tokenizer_only=False,
    slots=None,
):
    """Import a file. Returns the folders that were written.

    networks: {quantizer: Settings} of the tokenizers that the file may hold; sizes: {name: layers,
    dim, heads, depth} of the ARs; resolution: pixels of the AR's images, where they differ from the
    settings; sha256: the hash that the file must have; slots: of a text-to-image AR's captions,
    where they differ from the settings. Mistake: anything is wrong with the file or with `dest`."""
    path, dest, began = Path(path), Path(dest), time.monotonic()
    if dest.exists() and not dest.is_dir():
        raise Mistake(f"{dest} is a file; name a folder for the imported weights.")
    require_writable(dest / "run.json", dest)
    if resolution is not None and resolution < 1:
        raise Mistake(f"{path}: the resolution is {resolution}; it must be at least 1.")
    content = layouts.find(convert.unprefixed(source.read(path)), layout, path)
    digest = hashes.sha256(path)
    if sha256 and digest != sha256:
        raise Mistake(
            f"{path} has sha256 {digest}, wanted: {sha256}; download it again, or correct the hash."
        )
    _refuse_other(dest, digest)
    log(f"{path}: --layout {layout}, sha256 {digest}")
    names = {taken.name for taken in content.taken}
    if tokenizer_only:
        content.left_out.extend(t.name for t in content.taken if t.kind in ("ar", "projector"))
        content.taken[:] = [t for t in content.taken if t.kind not in ("ar", "projector")]
    if average := names & {"model_ema", "vq_ema", "ema"}:
        log(f"EMA weights are preferred: {', '.join(sorted(average))}")
    parts = folders(content, networks, sizes, resolution, path, slots)
    if not parts:
        raise Mistake(f"{path} holds no tokenizer and no AR; wanted: 'vq', 'vq_ema' or 'ar'.")
    if content.left_out:
        log(f"left out: {_listed(content.left_out)}")
    origin = {"name": path.name, "path": str(path), "sha256": digest, "layout": layout}
    written = _write(parts, dest, origin | {"left_out": sorted(content.left_out)})
    log(f"{' and '.join(map(str, written))}: written in {time.monotonic() - began:.1f} s")
    return written


def main():
    parser = argparse.ArgumentParser(description="Import a study's public tokenizer.")
    parser.add_argument("--job", required=True, type=json.loads, help="gear.study.jobs.public")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    job = args.job
    networks = {job["quantizer"]: config.build(job["settings"])}
    import_weights(
        job["file"],
        args.output,
        job["layout"],
        networks,
        sizes={},
        sha256=job.get("sha256"),
        tokenizer_only=True,
    )


if __name__ == "__main__":
    main()
