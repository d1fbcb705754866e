"""Import a pretrained text encoder: its files, in transformers' own form, and run.json.

The source is a local folder. If it is missing and the study pins a revision of the Hugging Face
hub, the files are downloaded from there. Nothing else is downloaded, and no code of the folder is
run.

python -m gear.t2i.text_import --job JSON --output DIR
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from gear import config
from gear.files.aside import aside, write
from gear.files.hashes import sha256
from gear.files.mistakes import Mistake
from gear.files.reading import reason_of
from gear.foreign import source
from gear.t2i.text_folder import TOKENIZER, read_folder, write_record

SMALL = ("config.json", TOKENIZER, "tokenizer_config.json")
PATTERNS = (*SMALL, "*.safetensors", "*.safetensors.index.json")  # of the hub; no pickle


def fetch(spec):
    """The local folder of a hub repository {repo, revision}. Mistake: the download fails."""
    hub, path = spec["hub"], spec["weights"]
    if not hub.get("revision"):
        raise Mistake(
            f"{path} ({spec['label']}) is missing; put the files of {hub['repo']} there, or set "
            f"text_encoder.hub.revision to the commit of {hub['repo']} that you trust; gear doctor "
            "lists all files that are missing."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(hub["repo"], revision=hub["revision"], allow_patterns=list(PATTERNS))
        )
    except Exception as error:
        raise Mistake(
            f"{path} is missing and {hub['repo']} at {hub['revision']} cannot be downloaded "
            f"({type(error).__name__}: {reason_of(error)}); put its files at {path} by hand."
        ) from None


def find(spec):
    """The local path of a study's text encoder.

    Mistake: it is missing, and no hub is named or the download fails."""
    path = Path(spec["weights"])
    if path.exists():
        return path
    if "hub" not in spec:
        raise Mistake(
            f"{path}, the text encoder {spec['label']}, is missing; put its files there, or name "
            "another folder in text_encoder.weights of the study."
        )
    return fetch(spec)


def check_sha256(found, spec):
    """{file name: sha256} of a Folder's files.

    spec['sha256']: one hash, of the first file of weights, or {file name: hash}.
    Mistake: a file has another hash than the study says."""
    stated = spec.get("sha256") or {}
    if isinstance(stated, str):
        stated = {found.weights[0].name: stated}
    held = {file.name: sha256(file) for file in found.files}
    for name, digest in stated.items():
        if held.get(name) != digest:
            fault = f"has sha256 {held[name]}" if name in held else "is not there"
            raise Mistake(
                f"{found.path / name} {fault}, the study says {digest}; download it again, or "
                "correct text_encoder.sha256."
            )
    return held


def import_encoder(spec, text, output):
    """Copy the files of a study's text encoder, and check that they work. Shards become one file.

    spec: {label, weights, hub, sha256}; text: {slots, width}.
    Mistake: see `find`, `check_sha256` and gear.t2i.text.load_encoder."""
    from gear.t2i.text import load_encoder

    path, output, settings = find(spec), Path(output), config.Text(**text)
    found = read_folder(path, settings)
    held = check_sha256(found, spec)
    load_encoder(path, settings, "bf16")  # before anything is written
    for name in SMALL:
        write(output / name, (path / name).read_bytes())
    with aside(output / "model.safetensors") as part:
        if len(found.weights) == 1:
            shutil.copyfile(found.weights[0], part)
        else:
            _join(found.weights, part)
    origin = {"name": path.name, "files": held}
    if path != Path(spec["weights"]):
        origin["hub"] = spec["hub"]
    write_record(output, "pretrained", spec, text, {"source": origin})
    for name, digest in held.items():
        print(f"{spec['label']}: {path / name}, sha256 {digest}", file=sys.stderr)


def _join(files, target):
    """One file of the tensors of several, in the order of their names."""
    from safetensors.torch import save_file

    tensors = {}
    for file in files:
        tensors |= source.read(file)
    save_file(dict(sorted(tensors.items())), target, metadata={"format": "pt"})


def main():
    parser = argparse.ArgumentParser(description="Import a pretrained text encoder.")
    parser.add_argument("--job", required=True, type=json.loads)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    import_encoder(args.job["spec"], args.job["text"], args.output)


if __name__ == "__main__":
    main()
