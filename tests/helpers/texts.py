"""A tiny text-to-image checkpoint with its tokenizer and text encoder, as training leaves them."""

import dataclasses
import shutil
from types import SimpleNamespace

import encoders
import torch
from commands import save

from gear.files.aside import write_json
from gear.files.hashes import sha256
from gear.t2i.transformer import TextTransformer


def ar(settings, seed=2):
    """An AR of texts whose head is not zero, so that its logits say something."""
    torch.manual_seed(seed)
    side = settings.data.resolution // settings.tokenizer.downsampling
    network = TextTransformer(settings.ar, settings.tokenizer.codebook_size, settings.text, side)
    torch.nn.init.normal_(network.head.weight, 0.0, 0.5)
    for weights in network.condition.parameters():  # so that captions differ
        weights.data *= 10
    return network.eval()


def made(path, smoke_settings, tiny_networks, encoder_folder):
    """results/tiny with tokenizer, text encoder and an AR of texts; a class-conditional one."""
    settings = smoke_settings(
        "gear-t2i", **{f"text.{name}": value for name, value in encoders.TEXT.items()}
    )
    root = path / "results/tiny"
    tokenizer, network = tiny_networks.tokenizer(settings).eval(), ar(settings)
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
