"""The public layouts: where the weights lie in a file, and which entries are left out.

- llamagen-tokenizer, llamagen-c2i: {"model": state}, also with "ema". A checkpoint of a training
  also has "optimizer", "discriminator", "optimizer_disc", "steps" and "args", which are left out
- llamagen-t2i: {"model": state} or {"ar": state}, and "ema", "projectors"; "ema" may be alone
- open-magvit2, ibq: Lightning, {"state_dict": state}. The average is `model_ema.<key without its
  dots>`. Helpers of the training (`loss.`, `inception`, `lpips`) lie beside it.
- gear: {"vq", "vq_ema", "discriminator", "ar", "ema", "projectors", ...}; any of them may be absent

A state dict without a wrapper, as in a .safetensors file, may be of any layout but `gear`. The
average, if the file has one, is what runs freeze or sample from. Training continues from the live
weights in `gear`, and from the average in `open-magvit2` and `ibq`, as in the published code.
"""

import re
from dataclasses import dataclass

from gear.files.mistakes import Mistake
from gear.foreign.convert import Taken, unwrapped
from gear.weights import LAYOUTS

QUANTIZERS = {"llamagen-tokenizer": "vq", "open-magvit2": "lfq", "ibq": "ibq"}
SIGNATURES = {  # beginnings of keys; a state dict of a layout has at least one of them
    "llamagen-tokenizer": ("encoder.conv_blocks.", "decoder.conv_blocks."),
    "llamagen-t2i": ("cls_embedding.cap_proj.",),  # before c2i: both have tok_embeddings
    "llamagen-c2i": ("cls_embedding.embedding_table.", "tok_embeddings."),
    "open-magvit2": ("encoder.mid_block.", "decoder.adaptive."),
    "ibq": ("encoder.mid.block_1.", "decoder.mid.block_1."),
}
GEAR = ("vq", "vq_ema", "discriminator", "ar", "ema", "projectors")
HELPERS = ("loss", "inception", "lpips")
TRAINING = re.compile(r"args|steps?|stage|epoch|opt|sched|scaler")  # other known entries of a file


@dataclass(frozen=True)
class Found:
    """The weights of one file."""

    quantizer: str | None  # of the tokenizer; None without a tokenizer
    taken: list[Taken]
    left_out: list[str]


def kind_of(state):
    """The layout of a state dict without a wrapper, or None."""
    for layout, signature in SIGNATURES.items():
        if any(str(key).startswith(signature) for key in state):
            return layout
    return None


def looks_like(content):
    """The layout of a file's content, or None."""
    if not isinstance(content, dict):
        return None
    name, state, _ = unwrapped(content)
    for part in ("ar", "ema"):
        if isinstance(content.get(part), dict) and kind_of(content[part]) == "llamagen-t2i":
            return "llamagen-t2i"
    if name == "the file" and any(isinstance(content.get(part), dict) for part in GEAR):
        return "gear"
    return kind_of(state)


def _first_keys(content):
    if not isinstance(content, dict):
        return f"it holds a {type(content).__name__}"
    name, state, _ = unwrapped(content)
    keys = ", ".join(f"'{key}'" for key in list(state)[:3]) or "none"
    return f"its first keys: {keys}" + (f" under '{name}'" if name != "the file" else "")


def find(content, layout, where):
    """The Found weights of a file's content.

    Mistake: the content has another layout; the sentence names it."""
    likely = looks_like(content)
    if likely != layout:
        if likely:
            guess = f"it looks like --layout {likely}"
        else:
            guess = f"it is none of the layouts {', '.join(LAYOUTS)}"
        raise Mistake(f"{where} is not of --layout {layout} ({_first_keys(content)}); {guess}.")
    if layout == "gear":
        weights = _gear(content, where)
    elif layout == "llamagen-t2i":
        weights = _text_to_image(content, where)
    elif layout == "llamagen-c2i":
        weights = _llamagen(content, None, where)
    elif layout == "llamagen-tokenizer":
        weights = _llamagen(content, "vq", where)
    else:
        weights = _lightning(content, QUANTIZERS[layout])
    for taken in weights.taken:
        for key, value in taken.tensors.items():
            if not hasattr(value, "dtype"):
                raise Mistake(
                    f"{where}: '{key}' of {taken.name} is no tensor but a {type(value).__name__}; "
                    f"the file is not of --layout {layout}."
                )
    return weights


def _only_training(entries, where):
    """The names of the entries that are no weights. Mistake: an entry is unknown."""
    unknown = [str(name) for name in entries if not TRAINING.match(str(name))]
    if unknown:
        raise Mistake(
            f"{where} has entries that no layout of ours has: "
            f"{', '.join(repr(name) for name in unknown[:3])}; take them out of the file."
        )
    return [str(name) for name in entries]


def _part(content, name, layout, where):
    if content.get(name) is None:
        return None
    if not isinstance(content[name], dict):
        raise Mistake(
            f"{where}: '{name}' is no dictionary of tensors but a {type(content[name]).__name__}; "
            f"the file is not of --layout {layout}."
        )
    return content[name]


def _both(kind, live, average):
    """[Taken] of two (name, state) pairs; either state may be None."""
    if live[1] is not None and average[1] is not None:
        return [Taken(kind, *average, (kind,)), Taken(kind, *live, (f"live.{kind}",))]
    return [
        Taken(kind, name, state, (kind, f"live.{kind}"))
        for name, state in (average, live)
        if state is not None
    ]


def _without_usage(state, left_out):
    """A VQ tokenizer's state without LlamaGen's record of recently used codes."""
    if state is None or "quantize.codebook_used" not in state:
        return state
    left_out.append("quantize.codebook_used")
    return {k: v for k, v in state.items() if k != "quantize.codebook_used"}


def _llamagen(content, quantizer, where):
    name, live, others = unwrapped(content)
    average = others.pop("ema", None)
    critic = ["discriminator"] if quantizer and others.pop("discriminator", None) else []
    left_out = critic + _only_training(others, where)
    if quantizer:
        live, average = (_without_usage(s, left_out) for s in (live, average))
    kind = "tokenizer" if quantizer else "ar"
    return Found(quantizer, _both(kind, (name, live), ("ema", average)), left_out)


def _text_to_image(content, where):
    if kind_of(content):
        return Found(None, _both("ar", ("the file", content), ("ema", None)), [])
    live = "ar" if "ar" in content else "model"
    names = (live, "ema", "projectors")
    parts = {name: _part(content, name, "llamagen-t2i", where) for name in names}
    taken = _both("ar", (live, parts[live]), ("ema", parts["ema"]))
    if parts["projectors"] is not None:
        taken.append(Taken("projector", "projectors", parts["projectors"], ("projector",)))
    return Found(None, taken, _only_training([k for k in content if k not in names], where))


def _lightning(content, quantizer):
    name, state, others = unwrapped(content)
    left_out, live, average = [str(name) for name in others], {}, {}  # Lightning's own progress
    for key, value in state.items():
        if key.startswith(HELPERS) or key in ("model_ema.decay", "model_ema.num_updates"):
            left_out.append(key)
        elif not key.startswith("model_ema."):
            live[key] = value
        elif key.removeprefix("model_ema.").startswith(HELPERS):
            left_out.append(key)
        else:
            average[key.removeprefix("model_ema.")] = value
    prefixes = ("tokenizer", "live.tokenizer")
    if not average:
        return Found(quantizer, [Taken("tokenizer", name, live, prefixes)], left_out)
    taken = [Taken("tokenizer", "model_ema", average, prefixes, dotless=True)]
    if live:
        taken.append(Taken("tokenizer", name, live, ()))
    return Found(quantizer, taken, left_out)


def _gear(content, where):
    parts = {name: _part(content, name, "gear", where) for name in GEAR}
    left_out = _only_training([k for k in content if k not in GEAR], where)
    tokenizer = parts["vq"] if parts["vq"] is not None else parts["vq_ema"]
    taken, quantizer = [], None
    if tokenizer is not None:
        quantizer = QUANTIZERS.get(kind_of(tokenizer))
        if quantizer is None:
            raise Mistake(
                f"{where} is not of --layout gear: its tokenizer is no VQ-16, LFQ-16 or IBQ-16 "
                f"({_first_keys(tokenizer)})."
            )
        live, average = (_without_usage(parts[name], left_out) for name in ("vq", "vq_ema"))
        taken += _both("tokenizer", ("vq", live), ("vq_ema", average))
    if parts["discriminator"] is not None:
        taken.append(
            Taken("discriminator", "discriminator", parts["discriminator"], ("discriminator",))
        )
    taken += _both("ar", ("ar", parts["ar"]), ("ema", parts["ema"]))
    if parts["projectors"] is not None:
        taken.append(Taken("projector", "projectors", parts["projectors"], ("projector",)))
    return Found(quantizer, taken, left_out)
