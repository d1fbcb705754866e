"""Parameters and FLOPs of networks, from a file where the committed studies have them.

Building and counting all networks of study paper takes 15 seconds, mostly torch. So counts.json
keeps the result for every study of config/. It holds while the code of the networks has the hash
that it states; other networks, and those of changed code, are counted by gear/plan/pieces.py.

    python -m gear.plan.counts     # writes counts.json again, after a change of networks or studies
"""

import json
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from gear.files.hashes import code_hash

FILE = Path(__file__).with_suffix(".json")
CODE = (
    *("gear/tokenizer/*.py", "gear/ar/*.py", "gear/t2i/transformer.py"),
    *("gear/alignment/*.py", "gear/alignment/teachers/*.py", "gear/plan/pieces.py"),
)
KINDS = {  # kind of network: the module that counts it
    **dict.fromkeys(("tokenizer", "discriminator", "vgg16", "ar", "project"), "gear.plan.pieces"),
    **dict.fromkeys(("text_ar", "text_encoder"), "gear.plan.pieces"),
    **dict.fromkeys(("standin", "pretrained"), "gear.plan.teachers"),
}


@dataclass(frozen=True)
class Piece:
    """One network."""

    parameters: int
    flops: dict  # {name of a pass: FLOPs of one image}
    width: int = 0  # F, only of a teacher


def key(kind, *arguments):
    """The name of a network in counts.json."""
    plain = [asdict(a) if is_dataclass(a) else a for a in arguments]
    return json.dumps([kind, *plain], sort_keys=True)


def counted(kind, *arguments):
    """The Piece, counted now."""
    return getattr(import_module(KINDS[kind]), kind)(*arguments)


@cache
def known():
    """{key: Piece as a dictionary} of counts.json; empty without the file, or for other code."""
    if not FILE.is_file():
        return {}
    content = json.loads(FILE.read_text(encoding="utf-8"))
    return content["pieces"] if content["code"] == code_hash(CODE) else {}


def piece(kind, *arguments):
    """The Piece of a network.

    kind: a function of gear.plan.pieces or gear.plan.teachers; arguments: those of the function."""
    found = known().get(key(kind, *arguments))
    return Piece(**found) if found else counted(kind, *arguments)


def gather():
    """The content of counts.json: the networks of all tables and figures of all studies."""
    from gear.plan import costs
    from gear.plan.targets import wanted
    from gear.study.configfiles import studies
    from gear.study.registry import Study

    found = {}

    def keep(kind, *arguments):
        piece = counted(kind, *arguments)
        found[key(kind, *arguments)] = asdict(piece)
        return piece

    for name in studies():
        study = Study(name)
        for run in wanted(study).runs:
            costs.networks_of(study.runs[run], study, keep)
    return {"code": code_hash(CODE), "pieces": dict(sorted(found.items()))}


def main():
    from gear.files.aside import write_json

    write_json(FILE, gather())
    print(f"{FILE}: {len(known())} networks")


if __name__ == "__main__":
    main()
