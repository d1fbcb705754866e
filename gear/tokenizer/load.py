"""A trained tokenizer, frozen, from a checkpoint folder."""

from gear import config
from gear.files.aside import read_json
from gear.files.mistakes import Mistake
from gear.runtime import checkpoint
from gear.tokenizer.autoencoder import Tokenizer


def settings_of(folder):
    """The resolved settings that a checkpoint was trained with."""
    record = read_json(f"{folder}/run.json")
    if "settings" not in record:
        raise Mistake(
            f"{folder}/run.json states no settings; name the folder of a tokenizer, joint or ar "
            "checkpoint."
        )
    return config.build(record["settings"], folder)


def require(folder, part, cure):
    """Mistake, with the cure, unless the checkpoint folder holds weights of `part`."""
    if not checkpoint.holds(f"{folder}/weights.safetensors", part):
        raise Mistake(f"{folder} holds no weights '{part}'; {cure}.")


def load_tokenizer(folder, prefix="tokenizer"):
    """The averaged weights; `live.tokenizer` for those that training goes on from."""
    settings = settings_of(folder)
    tokenizer = Tokenizer(settings.tokenizer, settings.data.channels)
    checkpoint.load_weights(f"{folder}/weights.safetensors", prefix, tokenizer)
    return tokenizer.eval()


def load_frozen(folder):
    return load_tokenizer(folder).requires_grad_(False)


def check_tokenizer(settings, folder):
    """Mistake unless the checkpoint's tokenizer is the one that these settings name."""
    trained = settings_of(folder)
    if (trained.tokenizer, trained.data.channels) != (settings.tokenizer, settings.data.channels):
        raise Mistake(
            f"{folder} holds another tokenizer than this run's settings name; train it anew "
            "(delete its folder) or change the run's `tokenizer`."
        )
