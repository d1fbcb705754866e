"""FLOPs of one image, and parameters, of each network that a study's settings name.

Every network is built on torch's meta device, which has shapes but no numbers, and its forward pass
is counted by torch's FlopCounterMode: matrix products, convolutions and attention, 2 for each
multiply-add. Equal settings are counted once.

Shapes: B images (here 1), N tokens, K codes, D width of the AR, F of the teacher.
"""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from gear.alignment.projector import projector
from gear.ar.transformer import Transformer
from gear.tokenizer.autoencoder import Tokenizer
from gear.tokenizer.discriminator import PatchGAN


@dataclass(frozen=True)
class Piece:
    parameters: int
    flops: dict  # {what of it: FLOPs of one image}
    width: int = 0  # F, of a teacher


@contextmanager
def _without_autocast():
    """torch.autocast refuses the meta device even where it is only switched off."""
    autocast, torch.autocast = torch.autocast, lambda *_, **__: nullcontext()
    try:
        yield
    finally:
        torch.autocast = autocast


def forward_flops(function):
    """FLOPs of calling `function`, without gradients."""
    with torch.no_grad(), _without_autocast(), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def image(channels, resolution):
    return torch.empty(1, channels, resolution, resolution)


@cache
def tokenizer(config, channels, resolution):
    """config: gear.config.Tokenizer. Training forward, and the two halves of frozen use."""
    with torch.device("meta"):
        network, x = Tokenizer(config, channels), image(channels, resolution)
        tokens = torch.zeros(1, (resolution // network.downsampling) ** 2, dtype=torch.long)
        flops = {
            # with A, which every loss on it shares
            "tokenizer": forward_flops(lambda: network(x)[1].assignment.scores()),
            "encode": forward_flops(lambda: network.tokens(x)),
            "decode": forward_flops(lambda: network.decode(tokens)),
        }
    return Piece(parameters(network), flops)


@cache
def discriminator(channels, resolution, width, layers):
    with torch.device("meta"):
        network, x = PatchGAN(channels, width, layers), image(channels, resolution)
        return Piece(parameters(network), {"discriminator": forward_flops(lambda: network(x))})


@cache
def vgg16(resolution):
    """The convolutions of VGG16 that LPIPS reads (its last pooling and its classifier unused)."""
    from torchvision.models import vgg16 as make

    with torch.device("meta"):
        network, x = make().features[:30], image(3, resolution)  # up to relu5_3
        return Piece(parameters(network), {"vgg16": forward_flops(lambda: network(x))})


@cache
def ar(config, codes, classes, side, layer):
    """config: gear.config.AR; layer: the block that is aligned. The whole pass over N positions,
    the pass up to that block, and the soft read-out s E of all tokens but the last."""
    with torch.device("meta"):
        network = Transformer(config, codes, classes, side)
        prefix = network.condition(torch.zeros(1, dtype=torch.long))
        s_BNK = torch.empty(1, side * side - 1, codes)
        u_BND = torch.empty(1, side * side - 1, config.dim)
        flops = {
            "ar": forward_flops(lambda: network(u_BND, prefix)),
            "ar_to_tap": forward_flops(lambda: network(u_BND, prefix, tap=layer, stop=True)),
            "readout": forward_flops(lambda: s_BNK @ network.embedding.weight),
        }
    return Piece(parameters(network), flops)


@cache
def project(dim, hidden, target, tokens):
    with torch.device("meta"):
        network, h_BND = projector(dim, hidden, target), torch.empty(1, tokens, dim)
        return Piece(parameters(network), {"projector": forward_flops(lambda: network(h_BND))})
