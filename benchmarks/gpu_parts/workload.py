"""Settings, random networks and random batches for benchmarks/gpu.py, at three sizes.

- tiny: toy networks on 64 x 64 images, for a CPU
- reduced: real kinds and widths, but few layers, on 128 x 128 images
- paper: the settings of config/studies/paper.yaml
"""

import tempfile
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.gpu_parts import text
from gear import config
from gear.alignment.teachers.load import network
from gear.data.memory import Batch
from gear.data.shards import CaptionBatch
from gear.runtime import distributed
from gear.runtime.device import setup
from gear.study.configfiles import CONFIG, read_yaml
from gear.study.stages import STAGES
from gear.tokenizer import train as tokenizer_train
from gear.tokenizer.losses import make_lpips

PAPER = read_yaml(CONFIG / "studies" / "paper.yaml")

TINY = {
    "data.resolution": 64,
    "data.classes": 10,
    "tokenizer.codebook_size": 64,
    "tokenizer.channels": 8,
    "tokenizer.groups": 4,
    "tokenizer.z_channels": 16,
    "tokenizer.encoder_blocks": 1,
    "tokenizer.decoder_blocks": 1,
    "loss.disc_channels": 8,
    "ar.layers": 2,
    "ar.dim": 32,
    "ar.heads": 4,
    "align.layer": 1,
    "align.projector_dim": 32,
    "optim.batch": 4,
}
REDUCED = {
    "data.resolution": 128,
    "tokenizer.channels": 64,
    "ar.layers": 4,
    "ar.dim": 384,
    "ar.heads": 6,
    "align.layer": 2,
    "optim.batch": 16,
}
TEACHER = {  # of a reduced run; the paper's size has the public network's own shape
    "tiny": {"embed_dim": 32, "depth": 1, "num_heads": 2},
    "reduced": {"embed_dim": 384, "depth": 4, "num_heads": 6},
}


def lpips_is_here():
    try:
        import lpips  # noqa: F401
    except ImportError:
        return False
    return True


def small(tiny, quantizer="vq", **changes):
    """Settings of the tiny or the reduced size; dotted names in `changes` use __ for the dot."""
    overrides = {**(TINY if tiny else REDUCED), "tokenizer.quantizer": quantizer}
    codes = {"vq": 8, "lfq": 6 if tiny else 14, "ibq": 16 if tiny else 256}
    overrides["tokenizer.code_dim"] = codes[quantizer]
    overrides |= {"loss.lpips": 0.1, "runtime.log_every": 5, "runtime.threads": 0}
    return config.build(overrides | {k.replace("__", "."): v for k, v in changes.items()})


def of_stage(stage, tiny, **changes):
    """Settings of a stage's training at the tiny or the reduced size."""
    return small(tiny, **text.changes(stage, "tiny" if tiny else "reduced"), **changes)


def paper(size="l", batch=32, **changes):
    """Settings of a run of the paper study with VQ-16 and an AR of `size`."""
    of_size = PAPER["sizes"][size]
    overrides = dict(PAPER["quantizers"]["vq"])
    overrides |= {f"ar.{name}": of_size[name] for name in ("layers", "dim", "heads")}
    overrides |= {"ar.size": size, "align.layer": of_size["depth"]["default"]}
    overrides |= {"optim.batch": batch, "optim.warmup": 1}
    return config.build(overrides | {k.replace("__", "."): v for k, v in changes.items()})


def random_teacher(name, resolution, shape=None):
    """A pretrained teacher's network with random weights, frozen, for images of `resolution`."""
    kind = network(PAPER["teachers"][name]["network"])
    full = {"img_size": kind.SIZES[0], **kind.SHAPE, **(shape or {})}
    if resolution in kind.SIZES:
        full["img_size"] = resolution
    teacher = kind(full, resolution)
    teacher.fit()
    return teacher.eval().requires_grad_(False)


# ---- LPIPS without its package -------------------------------------------------------------------


class RandomLPIPS(nn.Module):
    """LPIPS's arithmetic (arXiv 1801.03924) on VGG16's layers, all numbers random. Its values mean
    nothing; with the public widths its cost is LPIPS's."""

    DEPTHS = (2, 2, 3, 3, 3)  # convolutions of the five slices

    def __init__(self, widths=(64, 128, 256, 512, 512)):
        super().__init__()
        self.slices, self.heads, inner = nn.ModuleList(), nn.ModuleList(), 3
        for number, (depth, width) in enumerate(zip(self.DEPTHS, widths, strict=True)):
            layers = [nn.MaxPool2d(2)] if number else []
            for _ in range(depth):
                layers += [nn.Conv2d(inner, width, 3, padding=1), nn.ReLU(inplace=True)]
                inner = width
            self.slices.append(nn.Sequential(*layers))
            self.heads.append(nn.Conv2d(width, 1, 1, bias=False))
            nn.init.uniform_(self.heads[-1].weight, 0.0, 1.0)

    def forward(self, x, y):
        """(B, 1, 1, 1) of two batches (B, 3, H, W)."""
        total = 0.0
        for layers, head in zip(self.slices, self.heads, strict=True):
            x, y = layers(x), layers(y)
            a, b = (F.normalize(z, dim=1, eps=1e-10) for z in (x, y))
            total = total + head((a - b).square()).mean((2, 3), keepdim=True)
        return total


def loaded_lpips():
    """LPIPS through our own loader, from a file of random VGG16 weights."""
    from torchvision.models import vgg16

    with torch.device("cpu"), tempfile.NamedTemporaryFile(suffix=".pth") as file:
        features = vgg16(weights=None).features.state_dict()
        torch.save({f"features.{key}": value for key, value in features.items()}, file.name)
        return make_lpips(file.name)


def random_lpips(tiny):
    """What trainers take for LPIPS: our loader's where its package is installed. On a CPU VGG16
    would take longer than all else together, so a toy has LPIPS's arithmetic on narrow layers."""
    if lpips_is_here() and not tiny:
        return loaded_lpips()
    network = RandomLPIPS((4, 4, 8, 8, 8)) if tiny else RandomLPIPS()
    return network.eval().requires_grad_(False)


# ---- trainers ------------------------------------------------------------------------------------


@contextmanager
def on(device, tiny):
    """Inside, trainers take this device, new tensors are made on it, and LPIPS is random."""
    device = torch.device(device)
    mine = torch.device("cuda", 0) if device.type == "cuda" else device
    with (
        mock.patch.object(distributed, "device", lambda: mine),
        mock.patch.object(tokenizer_train, "make_lpips", lambda *_: random_lpips(tiny)),
        device,
    ):
        yield


def trainer(stage, settings, device, teacher=None, tune=True):
    """The trainer of a stage as if no stage had been before it, with random weights that are made
    on the device: `same_weights` gives two of them the same ones."""
    with on(device, tiny=settings.tokenizer.channels == TINY["tokenizer.channels"]):
        setup(settings)
        encoder = text.encoder(settings, device) if STAGES[stage].reads_text else None
        built = STAGES[stage].trainer(settings, teacher=teacher, encoder=encoder)
        built.files = []  # LPIPS is random, so no file of its weights is read
        if tune:
            built.tune()
    return built


def same_weights(trainer, reference):
    """Give a trainer the weights of another one, on whatever device each of them is."""
    for name, module in trainer.modules.items():
        module.load_state_dict(reference.modules[name].state_dict())
        if name in trainer.averages:
            average = trainer.averages[name].module
            average.load_state_dict(reference.averages[name].module.state_dict())
    for name in ("teacher", "lpips", "tokenizer"):
        theirs = getattr(reference, name, None)
        if theirs is not None:
            getattr(trainer, name).load_state_dict(theirs.state_dict())


def small_teacher(settings, tiny):
    shape = TEACHER["tiny" if tiny else "reduced"]
    torch.manual_seed(5)
    return random_teacher("dinov2", settings.data.resolution, shape)


def batch(settings, count=None, seed=0):
    """A batch of random images on the CPU, with labels or captions, as a data set gives it. Smooth,
    so that a tokenizer can learn something from them."""
    data, count = settings.data, count or settings.optim.batch
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, data.channels, 8, 8, generator=generator, device="cpu") * 2 - 1
    images = F.interpolate(coarse, (data.resolution, data.resolution), mode="bilinear")
    if settings.reads_text:
        captions = text.captions(settings, count)
        return CaptionBatch(images, captions, np.arange(count), np.zeros(count, int))
    labels = torch.arange(count, device="cpu") % data.classes
    return Batch(images, labels, np.arange(count), 0)


class Images:
    """A data set of one batch, for Segment."""

    def __init__(self, settings, at=None, act=None):
        self.whole, self.at, self.act = batch(settings), at, act
        self.classes = [str(label) for label in range(settings.data.classes)]

    def batch(self, step):
        """The same images at every step; at step `at`, once, `act` is called first."""
        if step == self.at:
            self.at = None
            self.act()
        return self.whole
