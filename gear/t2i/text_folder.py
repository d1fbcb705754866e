"""The folder of a text encoder, in transformers' own form, and its checks.

It holds config.json, weights in .safetensors (one file, or shards with their index), tokenizer.json
and tokenizer_config.json. A folder that gear wrote also has run.json. No torch is loaded here.
"""

from pathlib import Path
from typing import NamedTuple

from gear.files.aside import write_json
from gear.files.hashes import sha256, sha256_once
from gear.files.mistakes import Mistake
from gear.files.reading import read_record

# Causal decoders whose tokens are placed by position ids: for them alone it is exact to leave
# padding out (gear/t2i/text.py).
KINDS = ("qwen3", "qwen2", "llama")
PARTS = ("text_config", "vision_config", "audio_config")  # of a model that reads more than text
TOKENIZER = "tokenizer.json"
INDEX = "model.safetensors.index.json"
# modules that load_encoder imports, which takes seconds: gear.launch.warm imports them once
MODULES = (
    "tokenizers",
    "transformers.models.auto.modeling_auto",
    "transformers.models.qwen3.modeling_qwen3",
)
NAMED = "name the folder of a text encoder"


class Folder(NamedTuple):
    path: Path
    config: dict  # config.json
    weights: tuple  # paths of the .safetensors files, sorted
    pad: str  # the pad token

    @property
    def files(self):
        """The files whose content decides the features: weights and tokenizer.json."""
        return (*self.weights, self.path / TOKENIZER)

    def sha256(self):
        """{file name: sha256} of `files`."""
        return {file.name: sha256_once(file) for file in self.files}


def read_folder(path, text=None):
    """The Folder at a path. text: config.Text whose width it must have.

    Mistake: the folder is absent or incomplete, of another kind of model, or of another width."""
    path = Path(path)
    if not path.is_dir():
        raise Mistake(f"the text encoder {path} is not there; {NAMED}.")
    config = read_record(path / "config.json", NAMED, f"{path} is no text encoder: {NAMED}")
    _check_kind(path, config)
    width = config.get("hidden_size")
    if text is not None and width != text.width:
        raise Mistake(
            f"the text encoder {path} makes features of width {width}, but text.width is "
            f"{text.width}; name the encoder of that width."
        )
    return Folder(path, config, _weights(path), _pad(path))


def _check_kind(path, config):
    parts = [name for name in PARTS if name in config]
    if parts:
        raise Mistake(
            f"{path} is a model of text and other things (its config.json has '{parts[0]}'); name "
            "the folder of a language model alone, such as Qwen3-1.7B."
        )
    kind = config.get("model_type")
    if kind not in KINDS:
        raise Mistake(
            f"{path}/config.json has the model_type {kind!r}; a text encoder is one of "
            f"{', '.join(KINDS)}."
        )


def _weights(path):
    found = tuple(sorted(path.glob("*.safetensors")))
    if not found:
        pickles = [*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.pth")]
        said = f"only {pickles[0].name}, which may hold code" if pickles else "no weights"
        raise Mistake(f"the text encoder {path} has {said}; put its .safetensors files there.")
    whole = [file for file in found if file.name == "model.safetensors"]
    if whole:
        return tuple(whole)
    index = path / INDEX
    missing = f"the text encoder {path} lacks it, and has no model.safetensors; download it again"
    listed = read_record(index, missing=missing).get("weight_map")
    names = sorted(set(map(str, listed.values()))) if isinstance(listed, dict) else []
    absent = [name for name in names if path / name not in found]
    if absent or not names:
        what = f"{path / absent[0]}, which it names" if absent else "its weight_map"
        raise Mistake(f"{index} lacks {what}; download the text encoder again.")
    return tuple(path / name for name in names)


def _pad(path):
    config = "tokenizer_config.json"
    for name in (TOKENIZER, config):
        if not (path / name).is_file():
            raise Mistake(
                f"the text encoder {path} has no tokenizer: {name} is missing; put it there."
            )
    pad = read_record(path / config, "download it again").get("pad_token")
    pad = pad.get("content") if isinstance(pad, dict) else pad
    if not isinstance(pad, str):
        raise Mistake(f"{path / config} names no pad_token; take the file of its publisher.")
    return pad


def write_record(folder, kind, spec, text, more):
    """run.json of a text encoder: what it is, and the sha256 of each file beside it."""
    from gear.runtime import provenance

    files = sorted(file for file in Path(folder).iterdir() if file.name != "run.json")
    kept = [file for file in files if file.is_file() and not file.name.startswith(".")]
    record = {
        "kind": kind,
        "label": spec["label"],
        "spec": spec,
        "text": text,
        "files": {file.name: sha256(file) for file in kept},
        **more,
        **provenance.environment(),
    }
    write_json(Path(folder) / "run.json", record)
