"""The commands `gear reconstruct`, `sample` and `likelihood`, and tiny checkpoints for them."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gear.cli import main as cli
from gear.files import aside as files
from gear.runtime import checkpoint

NAMES = ["10.png", "9.png", "a.png", "b.png", "sub/c.png"]  # sorted
SIDE = 16  # pixels of the smoke study's images; 4 x 4 tokens of 16 codes


def save(folder, settings, **modules):
    """A checkpoint folder as training writes it."""
    checkpoint.save_weights(folder / "weights.safetensors", modules)
    files.write_json(folder / "run.json", {"settings": dataclasses.asdict(settings)})
    return folder


def picture(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def pixels(path):
    with Image.open(path) as image:
        return image.mode, np.asarray(image)


def gear(command, **options):
    """Run a command; True stands for an option without a value."""
    words = [command]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    assert cli.main([*words, "--device", "cpu"]) is None


def refused(command, **options):
    with pytest.raises(SystemExit) as error:
        gear(command, **options)
    said = str(error.value)
    assert said.startswith("gear: ") and "\n" not in said
    return said[6:]


def made(path, settings, tiny_networks):
    """Checkpoints: tokenizer (with another one as its live weights), ar, and both in joint; gray
    images in images/."""
    tokenizer, ar = tiny_networks.tokenizer(settings).eval(), tiny_networks.ar(settings)
    live = {
        "live.tokenizer": tiny_networks.tokenizer(settings, seed=9),
        "live.ar": tiny_networks.ar(settings, 9),
    }
    both = {"tokenizer": tokenizer, "live.tokenizer": live["live.tokenizer"]}
    save(path / "tokenizer", settings, **both)
    save(path / "ar", settings, ar=ar, **{"live.ar": live["live.ar"]})
    save(path / "joint", settings, ar=ar, **both)
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png", "sub/c.png", "10.png", "9.png"):
        picture(path / "images" / name, rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8))
    return SimpleNamespace(path=path, tokenizer=tokenizer, ar=ar, settings=settings)


def reconstruct(home, **options):
    folders = {"tokenizer": home.path / "tokenizer", "images": home.path / "images"}
    gear("reconstruct", **(folders | {"output": home.path / "out"} | options))


def sample(home, **options):
    common = {"checkpoint": home.path / "joint", "classes": "3,7", "count": 3, "guidance": 1.5}
    gear("sample", **(common | {"output": home.path / "grid.png"} | options))


def likelihood(home, path, **options):
    gear("likelihood", checkpoint=home.path / "ar", tokens=path, **options)


def write(path, **arrays):
    np.savez(path, **arrays)
    return path
