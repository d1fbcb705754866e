"""Captioned digits in miniature: shards with their index, settings, checkpoints, a text encoder."""

import dataclasses
from types import SimpleNamespace

import commands
import encoders
import shard_files
import tiny
import torch

from gear import config
from gear.data import index, sets
from gear.features import standin
from gear.runtime import checkpoint
from gear.sampling import generate
from gear.t2i.text import load_encoder
from gear.t2i.transformer import TextTransformer

TRAIN, VAL = (1, 7, 12), (9, 11)  # samples of each shard
TEXT = config.Text(**encoders.TEXT)


def caption(number):
    """Of digits; neighbours differ in their digit, and in their length."""
    return encoders.CAPTIONS[11 * number % len(encoders.CAPTIONS)]


def shards(root, train=TRAIN, val=VAL):
    """Shards in <root>/data and their index beside <root>/manifest.json; returns the manifest."""
    for split, sizes in (("train", train), ("val", val)):
        number = 0
        for i, size in enumerate(sizes):
            numbers = range(number, number + size)
            members = [m for n in numbers for m in shard_files.sample(n, caption=caption(n))]
            shard_files.write(root / "data" / split / f"{i:03d}.tar", members)
            number += size
    index.prepare(root / "data", root / "manifest.json")
    return root / "manifest.json"


def changes(root, **more):
    """Settings of the smoke study's t2i runs on these shards."""
    text = {f"text.{name}": value for name, value in encoders.TEXT.items()}
    return {"data.path": str(root / "data"), "data.shards_at_once": 2, **text, **more}


def training_set(root, settings):
    return sets.training_set(settings, root / "manifest.json")


def ar(settings, seed=2):
    """An AR in eval mode whose head is not zero, so that its logits say something."""
    torch.manual_seed(seed)
    side = settings.data.resolution // settings.tokenizer.downsampling
    codes = settings.tokenizer.codebook_size
    network = TextTransformer(settings.ar, codes, settings.text, side)
    for weight in network.condition.parameters():  # captions make a difference
        torch.nn.init.normal_(weight, 0.0, 1.0)
    torch.nn.init.normal_(network.head.weight, 0.0, 0.5)
    return network.eval().requires_grad_(False)


def trainer(settings, folder):
    """A trainer with the text encoder of a folder."""
    return tiny.trainer("t2i", settings, load_encoder(folder, settings.text))


def teacher(path, settings):
    """The folder of tiny.teacher."""
    data, patch = settings.data, settings.tokenizer.downsampling
    shape = {"channels": data.channels, "resolution": data.resolution, "classes": data.classes}
    folder = commands.save(path, settings, teacher=tiny.teacher(settings))
    record = {"shape": shape | {"patch": patch, "dim": 16, "layers": 1}}
    commands.files.write_json(path / "run.json", record | {"spec": {"objective": "masked_patch"}})
    return folder


def features(path, settings):
    """The folder of the stand-in features, with a reference of 40 random images."""
    data = settings.data
    shape = {"channels": data.channels, "resolution": data.resolution, "classes": data.classes}
    torch.manual_seed(0)
    network = standin.StandinClassifier(**shape).eval()
    images = torch.randint(256, (40, *(shape["channels"], *2 * [shape["resolution"]])))
    found = standin.extract(network, images.to(torch.uint8))
    folder = commands.save(path, settings, classifier=network)
    commands.files.write_json(path / "run.json", {"shape": shape})
    arrays = {"pooled": found.pooled_ND, "spatial": found.spatial_NS, "probs": found.probs_NC}
    generate.save_arrays(path / "reference.npz", arrays)
    return folder


def made(root, settings, encoder):
    """The folders of a tokenizer, a teacher, features and the shards, below `root`."""
    shards(root)
    tokenizer = root / "vq"
    record = {"settings": dataclasses.asdict(settings), "status": "finished"}
    checkpoint.save_folder(tokenizer, {"tokenizer": tiny.tokenizer(settings).eval()}, record)
    return SimpleNamespace(
        path=root,
        settings=settings,
        manifest=root / "manifest.json",
        tokenizer=tokenizer,
        teacher=teacher(root / "teacher", settings),
        features=features(root / "features", settings),
        encoder=encoder,
    )
