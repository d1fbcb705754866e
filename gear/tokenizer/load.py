"""A trained tokenizer, frozen, from a checkpoint folder."""

from gear import config
from gear.runtime import checkpoint
from gear.tokenizer.autoencoder import Tokenizer


def settings_of(folder):
    """The resolved settings that a checkpoint was trained with."""
    return config.build(checkpoint.read_json(f"{folder}/run.json")["settings"], folder)


def load_tokenizer(folder, prefix="tokenizer"):
    """The averaged weights; `live.tokenizer` for those that training goes on from."""
    settings = settings_of(folder)
    tokenizer = Tokenizer(settings.tokenizer, settings.data.channels)
    checkpoint.load_weights(f"{folder}/weights.safetensors", prefix, tokenizer)
    return tokenizer.eval()


def load_frozen(folder):
    return load_tokenizer(folder).requires_grad_(False)
