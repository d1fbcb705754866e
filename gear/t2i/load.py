"""A trained AR of any condition, frozen, from a checkpoint folder."""

from gear.ar import load
from gear.t2i.transformer import TextTransformer
from gear.tokenizer.load import settings_of


def load_ar(folder):
    """(AR with averaged weights, its settings) of a joint, ar or t2i checkpoint.

    `settings.reads_text` says whether the AR's condition is a caption or a class. Mistake: the
    folder holds no AR, or its file is damaged."""
    settings = settings_of(folder)
    if not settings.reads_text:
        return load.load_ar(folder)
    rows = settings.text.width + settings.ar.dim
    return load.load_as(folder, settings, TextTransformer, settings.text, rows), settings
