"""Finding the text encoder that a checkpoint's AR was trained on, by the sha256 of its files."""

from pathlib import Path

from gear.files.hashes import sha256_once
from gear.files.mistakes import Mistake
from gear.files.reading import read_record, required
from gear.t2i.text_folder import TOKENIZER, read_folder


def stated(ar_folder):
    """{path: sha256} of the text encoder's files among the inputs that run.json names."""
    file = Path(ar_folder) / "run.json"
    record = read_record(file)
    inputs = required(record, "inputs", dict, file) if "inputs" in record else {}
    folders = {Path(path).parent for path in inputs if Path(path).name == TOKENIZER}
    return {Path(p): digest for p, digest in inputs.items() if Path(p).parent in folders}


def find_encoder(ar_folder, text, text_encoder=None):
    """Folder of the text encoder that a checkpoint's AR was trained on.

    text: config.Text; text_encoder: a folder that the user names. None: the folder that run.json
    names, or the one in the same results folder.
    Mistake: the encoder is not there, has another width, or has other files than in the
    training."""
    inputs = stated(ar_folder)
    if text_encoder is not None:
        return _checked(ar_folder, text_encoder, text, inputs)
    # <results>/<study>/<stage>/<run>/<milestone> and <results>/<study>/text_encoder
    roots = Path(ar_folder).absolute().parents[2:3]
    for path, digest in inputs.items():
        for file in (path, *(root / path.parent.name / path.name for root in roots)):
            if path.name == TOKENIZER and file.is_file() and sha256_once(file) == digest:
                return _checked(ar_folder, file.parent, text, inputs)
    raise Mistake(
        f"the text encoder that the AR of {ar_folder} reads is not there; name its folder with "
        "`text_encoder`."
    )


def _checked(ar_folder, folder, text, inputs):
    held = read_folder(folder, text).sha256()
    for path, digest in inputs.items():
        if held.get(path.name) != digest:
            fault = "has another sha256" if path.name in held else "is not there"
            raise Mistake(
                f"the AR of {ar_folder} was not trained on the text encoder of {folder}: "
                f"{path.name} {fault}; leave `text_encoder` out, or name the one that "
                f"{ar_folder}/run.json states."
            )
    return Path(folder)
