"""A trained AR, frozen, from a checkpoint folder."""

from gear.ar.transformer import Transformer
from gear.runtime import checkpoint
from gear.tokenizer.load import settings_of


def load_ar(folder):
    """(AR with averaged weights, its settings) of a joint or ar checkpoint."""
    settings = settings_of(folder)
    side = settings.data.resolution // settings.tokenizer.downsampling
    ar = Transformer(settings.ar, settings.tokenizer.codebook_size, settings.data.classes, side)
    checkpoint.load_weights(f"{folder}/weights.safetensors", "ar", ar)
    return ar.eval().requires_grad_(False), settings
