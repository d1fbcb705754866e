"""Export of a checkpoint into the public layout of its network; `gear import` reads it back."""

import sys
from pathlib import Path

import torch

from gear.files.aside import aside, write
from gear.files.mistakes import Mistake
from gear.files.outputs import all_or_none, require_free
from gear.foreign import convert
from gear.runtime import checkpoint
from gear.t2i.load import load_ar
from gear.tokenizer.load import load_tokenizer
from gear.weights import keys
from gear.weights.card import card

WRAPPERS = {"vq": "model", "lfq": "state_dict", "ibq": "state_dict"}


def parts_of(folder):
    """The parts, of `tokenizer` and `ar`, that a checkpoint folder holds."""
    path = Path(folder) / "weights.safetensors"
    return [part for part in ("tokenizer", "ar") if checkpoint.holds(path, part)]


def export(folder, output, part=None, force=False):
    """Write the averaged weights of one part of a checkpoint to a file, its card to `<file>.md`.

    part: `tokenizer` or `ar`; None is allowed where the folder holds only one of them. VQ and AR
    are written as {"model": state} (LlamaGen), LFQ and IBQ as {"state_dict": state}. force: replace
    the output. Mistake: the output exists or has another ending, or the folder does not hold the
    part."""
    output, parts = Path(output), parts_of(folder)
    if output.suffix not in (".pt", ".pth", ".ckpt"):
        raise Mistake(f"{output} should be a .pt file; name it so.")
    beside = output.with_name(f"{output.name}.md")
    for path in (output, beside):
        require_free({"": path}, force, [Path(folder) / "weights.safetensors"])
    if part not in (None, *parts):
        raise Mistake(f"{folder} holds no {part}; it has: {', '.join(parts) or 'neither'}.")
    if part is None and len(parts) != 1:
        raise Mistake(
            f"{folder} holds {' and '.join(parts) or 'neither tokenizer nor ar'}; add --part "
            "tokenizer or --part ar."
        )
    wrapper, state = (_tokenizer if (part or parts[0]) == "tokenizer" else _ar)(folder)
    with all_or_none([output, beside]):
        with aside(output) as path, open(path, "wb") as handle:  # torch hides why a path fails
            torch.save({wrapper: state}, handle)
        write(beside, card(folder))
    count = sum(v.numel() for v in state.values())
    print(f"{output}: {len(state)} tensors, {count:,} numbers, under '{wrapper}'", file=sys.stderr)


def _tokenizer(folder):
    tokenizer = load_tokenizer(folder)
    state = tokenizer.state_dict()
    mapping = keys.tokenizer(tokenizer.config, state)
    return WRAPPERS[tokenizer.config.quantizer], convert.to_theirs(state, mapping)


def _ar(folder):
    ar, settings = load_ar(folder)
    if settings.ar.prefix_rope != "zero":
        print(
            f"warning: {folder} was trained with ar.prefix_rope {settings.ar.prefix_rope}, which "
            "the file cannot say; code for published weights will read it as zero",
            file=sys.stderr,
        )
    text = settings.reads_text
    layout, slots = ("t2i", f" --slots {settings.text.slots}") if text else ("c2i", "")
    print(
        f"the file does not state what `gear import --layout llamagen-{layout}` needs: "
        f"--resolution {settings.data.resolution}{slots}, and a --study that has its sizes",
        file=sys.stderr,
    )
    names = keys.text_ar if text else keys.ar
    return "model", convert.to_theirs(ar.state_dict(), names(settings.ar.layers))
