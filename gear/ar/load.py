"""A trained AR, frozen, from a checkpoint folder."""

from functools import partial

from gear.ar.transformer import Transformer
from gear.files.mistakes import Mistake
from gear.runtime import checkpoint
from gear.tokenizer.load import settings_of

SIDE = 256  # tokens; the table of positions has side^2 rows, and no file of weights says so


def load_ar(folder):
    """(AR with averaged weights, its settings) of a joint or ar checkpoint.

    Mistake: the AR reads captions (gear.t2i.load reads both kinds)."""
    settings = settings_of(folder)
    if settings.reads_text:
        raise Mistake(
            f"the AR of {folder} reads captions; name the checkpoint of an AR that reads classes."
        )
    classes = settings.data.classes
    return load_as(folder, settings, Transformer, classes, classes), settings


def load_as(folder, settings, network, condition, rows):
    """The network of a checkpoint's settings with averaged weights, frozen, in eval mode.

    network: Transformer or a subclass; condition: its argument; rows: of the condition's weights,
    each as wide as the AR."""
    side = settings.data.resolution // settings.tokenizer.downsampling
    if side > SIDE:
        raise Mistake(
            f"{folder}/run.json asks for {side} x {side} tokens, and an AR has at most {SIDE} x "
            f"{SIDE}; the file is damaged or of another run."
        )
    codes, dim = settings.tokenizer.codebook_size, settings.ar.dim
    # a block has more than 4 D^2
    least = dim * (2 * codes + rows + 4 * dim * settings.ar.layers)
    make = partial(network, settings.ar, codes, condition, side)
    ar = checkpoint.load_network(f"{folder}/weights.safetensors", "ar", make, least)
    return ar.eval().requires_grad_(False)
