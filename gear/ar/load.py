"""A trained AR, frozen, from a checkpoint folder."""

from functools import partial

from gear.ar.transformer import Transformer
from gear.files.mistakes import Mistake
from gear.runtime import checkpoint
from gear.tokenizer.load import settings_of

SIDE = 256  # tokens; the table of positions has side^2 rows, and no file of weights says so


def load_ar(folder):
    """(AR with averaged weights, its settings) of a joint or ar checkpoint."""
    settings = settings_of(folder)
    side = settings.data.resolution // settings.tokenizer.downsampling
    if side > SIDE:
        raise Mistake(
            f"{folder}/run.json asks for {side} x {side} tokens, and an AR has at most {SIDE} x "
            f"{SIDE}; the file is damaged or of another run."
        )
    codes, classes, dim = settings.tokenizer.codebook_size, settings.data.classes, settings.ar.dim
    least = dim * (
        2 * codes + classes + 4 * dim * settings.ar.layers
    )  # a block has more than 4 D^2
    make = partial(Transformer, settings.ar, codes, classes, side)
    ar = checkpoint.load_network(f"{folder}/weights.safetensors", "ar", make, least)
    return ar.eval().requires_grad_(False), settings
