"""The tokenizer that a checkpoint's AR reads: found, and told from others.

The shapes of two tokenizers may be equal, so a tokenizer is known by the sha256 of its weights.
"""

from pathlib import Path

from gear.files.hashes import sha256_once
from gear.files.mistakes import Mistake
from gear.files.reading import read_record, required
from gear.runtime import checkpoint
from gear.tokenizer.load import settings_of


def find_tokenizer(folder):
    """Folder of the tokenizer that a checkpoint's AR reads, or None where it is not there.

    Its own; or an input of its training with the content it had then, where run.json says or in the
    same results folder; or that of the same imported file, in `tokenizer` beside `ar`."""
    folder = Path(folder)
    if holds(folder, "tokenizer"):
        return folder
    file, results = folder / "run.json", folder.absolute().parents[2:3]
    record = read_record(file)
    inputs = required(record, "inputs", dict, file) if "inputs" in record else {}
    for path, digest in inputs.items():
        # <results>/<study>/<stage>/<run>/<milestone>/weights.safetensors
        for weights in (Path(path), *(root.joinpath(*Path(path).parts[-4:]) for root in results)):
            there = weights.name == "weights.safetensors" and weights.is_file()
            if there and holds(weights.parent, "tokenizer") and sha256_once(weights) == digest:
                return weights.parent
    beside = folder.absolute().with_name("tokenizer")
    if "source" in record and (beside / "run.json").is_file():
        source = read_record(beside / "run.json").get("source")
        return beside if source == record["source"] else None
    return None


def holds(folder, part):
    """Whether a checkpoint folder has weights of a part. Mistake: missing or damaged file."""
    return checkpoint.holds(folder / "weights.safetensors", part)


def length_of(settings):
    """T: tokens of an image that an AR with these settings reads."""
    return (settings.data.resolution // settings.tokenizer.downsampling) ** 2


def check_pair(ar_folder, settings, tokenizer_folder):
    """Mistake: an AR was not trained on this tokenizer.

    settings: of the AR. An AR that was imported alone does not say which one it was trained on."""
    theirs = settings_of(tokenizer_folder).tokenizer
    made = (settings.data.resolution // theirs.downsampling) ** 2
    pairs = {
        "codes": (settings.tokenizer.codebook_size, theirs.codebook_size),
        "tokens an image": (length_of(settings), made),
    }
    for what, (read, given) in pairs.items():
        if read != given:
            raise Mistake(
                f"the AR of {ar_folder} reads {read} {what}, the tokenizer of {tokenizer_folder} "
                f"makes {given}; name the tokenizer that the AR was trained on."
            )
    known = _known(ar_folder)
    if known and sha256_once(Path(tokenizer_folder) / "weights.safetensors") not in known:
        raise Mistake(
            f"the AR of {ar_folder} was not trained on the tokenizer of {tokenizer_folder}: those "
            "weights have another sha256; leave the tokenizer out, or name the one that "
            f"{ar_folder}/run.json states."
        )


def check_tokens(ar_folder, tokenizer_sha256, where):
    """Mistake: the tokens of the file `where` were made by another tokenizer than an AR reads.

    tokenizer_sha256: that the file states."""
    known = _known(ar_folder)
    if known and tokenizer_sha256 not in known:
        raise Mistake(
            f"{where}: its tokens were made by a tokenizer with sha256 {tokenizer_sha256[:8]}..., "
            f"which the AR of {ar_folder} was not trained on; make them with its own tokenizer."
        )


def _known(ar_folder):
    """The sha256 of the weights, one of them the tokenizer's, that an AR was trained on.

    Empty where nothing is known."""
    own, record = find_tokenizer(ar_folder), read_record(Path(ar_folder) / "run.json")
    if own is not None and (own == Path(ar_folder) or "source" in record):
        return {sha256_once(own / "weights.safetensors")}
    inputs = {} if "source" in record else record.get("inputs", {})
    return {sha for path, sha in inputs.items() if Path(path).name == "weights.safetensors"}
