"""A trained AR, frozen, from a checkpoint folder."""

from functools import partial

from gear.ar.transformer import Transformer
from gear.runtime import checkpoint
from gear.tokenizer.load import settings_of


def load_ar(folder):
    """(AR with averaged weights, its settings) of a joint or ar checkpoint."""
    settings = settings_of(folder)
    side = settings.data.resolution // settings.tokenizer.downsampling
    shape = settings.ar, settings.tokenizer.codebook_size, settings.data.classes, side
    make = partial(Transformer, *shape)
    ar = checkpoint.load_network(f"{folder}/weights.safetensors", "ar", make)
    return ar.eval().requires_grad_(False), settings
