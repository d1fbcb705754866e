"""A trained tokenizer, frozen, from a checkpoint folder."""

from functools import partial

from gear import config
from gear.files.mistakes import Mistake
from gear.files.reading import read_record, required
from gear.runtime import checkpoint
from gear.tokenizer.autoencoder import Tokenizer


def settings_of(folder):
    """The Settings that a checkpoint was trained with. Mistake: run.json has none."""
    checkpoint.require_step(folder)
    path = f"{folder}/run.json"
    record = read_record(path)
    if "settings" not in record:
        raise Mistake(
            f"{path} states no settings; name the folder of a tokenizer, joint or ar checkpoint."
        )
    return config.build(required(record, "settings", dict, path), folder)


def require(folder, part, cure):
    """Mistake: the checkpoint folder holds no weights of `part`. cure: end of the message."""
    if not checkpoint.holds(f"{folder}/weights.safetensors", part):
        raise Mistake(f"{folder} holds no weights '{part}'; {cure}.")


def load_tokenizer(folder, prefix="tokenizer"):
    """The Tokenizer of a checkpoint folder, in eval mode. Mistake: no such weights.

    prefix: `tokenizer` for the averaged weights, `live.tokenizer` for the weights in training."""
    settings = settings_of(folder)
    make = partial(Tokenizer, settings.tokenizer, settings.data.channels)
    least = _least(settings.tokenizer)
    return checkpoint.load_network(f"{folder}/weights.safetensors", prefix, make, least).eval()


def _least(shape):
    """Numbers of a tokenizer's weights, at least: those of each block's second convolution, of the
    layers at the code, and of the codebook."""
    widths = [shape.channels * m for m in shape.multipliers]
    blocks = shape.encoder_blocks + shape.decoder_blocks
    codes = 0 if shape.quantizer == "lfq" else shape.codebook_size
    ends = shape.z_channels * widths[-1] + shape.code_dim * codes
    return 9 * blocks * sum(width**2 for width in widths) + ends


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
