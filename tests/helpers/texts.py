"""A tiny text-to-image checkpoint with its tokenizer and text encoder, as training leaves them."""

import dataclasses
import shutil
from types import SimpleNamespace

import captioned
import encoders
from commands import save

from gear.files.aside import write_json
from gear.files.hashes import sha256


def made(path, smoke_settings, tiny_networks, encoder_folder):
    """results/tiny with tokenizer, text encoder and an AR of texts; a class-conditional one."""
    settings = smoke_settings(
        "gear-t2i", **{f"text.{name}": value for name, value in encoders.TEXT.items()}
    )
    root = path / "results/tiny"
    tokenizer, network = tiny_networks.tokenizer(settings).eval(), captioned.ar(settings)
    vq = save(root / "tokenizer/vq/400k", settings, tokenizer=tokenizer)
    encoder = shutil.copytree(encoder_folder, root / "text_encoder")
    t2i = save(root / "t2i/gear-t2i/390k", settings, ar=network)
    files = [vq / "weights.safetensors", encoder / "model.safetensors", encoder / "tokenizer.json"]
    inputs = {str(file): sha256(file) for file in files}
    write_json(t2i / "run.json", {"settings": dataclasses.asdict(settings), "inputs": inputs})
    classes = smoke_settings()
    both = {"tokenizer": tokenizer, "ar": tiny_networks.ar(classes)}
    return SimpleNamespace(
        path=path,
        root=root,
        t2i=t2i,
        encoder=encoder,
        vq=vq,
        joint=save(path / "joint", classes, **both),
        ar=network,
        tokenizer=tokenizer,
        settings=settings,
    )
