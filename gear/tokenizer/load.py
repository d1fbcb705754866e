"""A trained tokenizer, frozen, from a checkpoint folder."""

from gear import config
from gear.files.aside import read_json
from gear.files.mistakes import Mistake
from gear.runtime import checkpoint
from gear.tokenizer.autoencoder import Tokenizer


def settings_of(folder):
    """The Settings that a checkpoint was trained with. Mistake: run.json has none."""
    checkpoint.require_step(folder)
    record = read_json(f"{folder}/run.json")
    if "settings" not in record:
        raise Mistake(
            f"{folder}/run.json states no settings; name the folder of a tokenizer, joint or ar "
            "checkpoint."
        )
    return config.build(record["settings"], folder)


def require(folder, part, cure):
    """Mistake: the checkpoint folder holds no weights of `part`. cure: end of the message."""
    if not checkpoint.holds(f"{folder}/weights.safetensors", part):
        raise Mistake(f"{folder} holds no weights '{part}'; {cure}.")


def load_tokenizer(folder, prefix="tokenizer"):
    """The Tokenizer of a checkpoint folder, in eval mode. Mistake: no such weights.

    prefix: `tokenizer` for the averaged weights, `live.tokenizer` for the weights in training."""
    settings = settings_of(folder)
    tokenizer = Tokenizer(settings.tokenizer, settings.data.channels)
    checkpoint.load_weights(f"{folder}/weights.safetensors", prefix, tokenizer)
    return tokenizer.eval()


def load_frozen(folder):
    """The Tokenizer of a checkpoint folder, averaged weights, without gradients."""
    return load_tokenizer(folder).requires_grad_(False)


def check_tokenizer(settings, folder):
    """Mistake: the checkpoint's tokenizer differs from that of the settings."""
    trained = settings_of(folder)
    if (trained.tokenizer, trained.data.channels) != (settings.tokenizer, settings.data.channels):
        raise Mistake(
            f"{folder} holds another tokenizer than this run's settings name; train it again "
            "(delete its folder) or change the run's `tokenizer`."
        )
