"""Our networks on the meta device: the names and shapes that a file of weights must have."""

import re

import torch

from gear import config
from gear.alignment.projector import projector
from gear.ar.transformer import Transformer
from gear.files.mistakes import Mistake
from gear.t2i.transformer import TextTransformer
from gear.tokenizer.autoencoder import Tokenizer
from gear.tokenizer.discriminator import PatchGAN
from gear.weights import keys
from gear.weights.layouts import kind_of

CODES, CLASSES = "tok_embeddings.weight", "cls_embedding.embedding_table.weight"
CAPTION = "cls_embedding.cap_proj.fc1.weight"


def ar_settings(state, base, sizes, resolution, where, slots=None):
    """`base` with the size, codes and condition of the AR that a state dict holds.

    The number of heads comes from `sizes`; the resolution and a caption's slots are arguments,
    because no shape shows them (None: those of `base`). ar.prefix_rope is `zero`, because published
    ARs were trained with query and key of the condition set to zero. Mistake: a tensor is missing,
    or no size fits."""
    text = kind_of(state) == "llamagen-t2i"
    for key in (CODES, CAPTION if text else CLASSES):
        shape = tuple(state[key].shape) if key in state else ()
        if len(shape) != 2:
            fault = f"has shape {shape}" if key in state else "is missing"
            raise Mistake(f"{where}: '{key}' {fault} (wanted: a matrix as wide as the AR).")
    codes, dim = state[CODES].shape
    if text:
        slots = base.text.slots if slots is None else slots
        width = state[CAPTION].shape[1]
        condition = {"data.source": "shards", "text.slots": slots, "text.width": width}
    else:
        condition = {"data.classes": len(state[CLASSES]) - 1}
    resolution = base.data.resolution if resolution is None else resolution
    down = base.tokenizer.downsampling
    if resolution % down:
        raise Mistake(f"--resolution {resolution} is no multiple of the tokenizer's {down}.")
    name, size = _size(state, dim, sizes, where)
    return config.build(
        config.difference(base)
        | {f"ar.{k}": size[k] for k in ("layers", "dim", "heads")}
        | {"ar.size": name, "ar.prefix_rope": "zero", "align.layer": size["depth"]["default"]}
        | {"tokenizer.codebook_size": codes, "data.resolution": resolution}
        | condition,
        where,
    )


def _size(state, dim, sizes, where):
    """(name, {layers, dim, heads, depth}) of the size that fits an AR's width.

    Where several sizes have that width, the number of layers decides. Missing and surplus tensors
    are reported later, key by key."""
    numbers = [int(n) for k in state for n in re.findall(r"^layers\.(\d+)\.", k)]
    layers = 1 + max(numbers, default=-1)
    fits = {n: s for n, s in sizes.items() if s["dim"] == dim}
    if len(fits) != 1:
        fits = {n: s for n, s in fits.items() if s["layers"] == layers}
    if not fits:
        known = ", ".join(f"{n} {s['layers']} x {s['dim']}" for n, s in sizes.items())
        raise Mistake(
            f"{where}: an AR of {layers} layers x {dim} is none of the study's sizes ({known}); "
            "add it to `sizes` in the study's file."
        )
    return next(iter(fits.items()))


def network(kind, settings, state):
    """(module on the meta device, {our key: keys in the file}) of one kind of weights.

    kind: tokenizer, discriminator, projector or ar; state: the file's state dict."""
    with torch.device("meta"):
        if kind == "tokenizer":
            module = Tokenizer(settings.tokenizer, settings.data.channels)
            return module, keys.tokenizer(settings.tokenizer, module.state_dict())
        if kind == "discriminator":
            loss = settings.loss
            module = PatchGAN(settings.data.channels, loss.disc_channels, loss.disc_layers)
            return module, keys.discriminator(module.state_dict())
        if kind == "projector":
            last = state.get("projs.0.4.weight")  # as wide as the teacher's features
            width = len(last) if last is not None and last.ndim else 1
            module = projector(settings.ar.dim, settings.align.projector_dim, width)
            return module, keys.projector(module.state_dict())
        codes = settings.tokenizer.codebook_size
        side = settings.data.resolution // settings.tokenizer.downsampling
        if settings.reads_text:
            module = TextTransformer(settings.ar, codes, settings.text, side)
            return module, keys.text_ar(settings.ar.layers)
        module = Transformer(settings.ar, codes, settings.data.classes, side)
        return module, keys.ar(settings.ar.layers)
