"""FLOPs of one image and number of parameters of each network of a study.

Each network is built on torch's meta device, which has shapes but no numbers. FlopCounterMode of
torch counts its forward pass: matrix products, convolutions and attention, 2 FLOPs for each
multiply-add. Networks with equal settings are counted once.

Shapes: B images (here 1), N tokens, K codes, D width of the AR, F of the teacher, P slots of a
caption, C of its features.
"""

from contextlib import contextmanager, nullcontext
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from gear.alignment.projector import projector
from gear.ar.transformer import Transformer
from gear.plan.counts import Piece
from gear.t2i.transformer import Text, TextTransformer
from gear.tokenizer.autoencoder import Tokenizer
from gear.tokenizer.discriminator import PatchGAN


@contextmanager
def _without_autocast():
    """torch.autocast without effect, because even enabled=False refuses the meta device."""
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
    """The Piece of a tokenizer: `tokenizer` (training), `encode` and `decode` (frozen).

    config: gear.config.Tokenizer."""
    with torch.device("meta"):
        network, x = Tokenizer(config, channels), image(channels, resolution)
        tokens = torch.zeros(1, (resolution // network.downsampling) ** 2, dtype=torch.long)
        flops = {
            # with the assignment scores, which all losses share
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
    """The Piece of the VGG16 layers that LPIPS reads: all up to relu5_3."""
    from torchvision.models import vgg16 as make

    with torch.device("meta"):
        network, x = make().features[:30], image(3, resolution)
        return Piece(parameters(network), {"vgg16": forward_flops(lambda: network(x))})


@cache
def ar(config, codes, classes, side, layer):
    """The Piece of an AR: `ar` (whole pass over N positions), `ar_to_tap` (up to the aligned block)
    and `readout` (soft read-out s E of all tokens but the last).

    config: gear.config.AR; layer: the aligned block."""
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
def text_ar(config, codes, text, side, layer):
    """The Piece of a text-to-image AR: `ar` and `ar_to_tap` over the caption and N positions.

    text: gear.config.Text. A caption is counted with all its slots. Padding is left out when the
    network runs, so this is the most that a step costs; the mean depends on the captions."""
    with torch.device("meta"):
        network = TextTransformer(config, codes, text, side)
        features_BPC = torch.empty(1, text.slots, text.width)
        caption = Text(features_BPC, torch.ones(1, text.slots, dtype=torch.bool))
        u_BND = torch.empty(1, side * side - 1, config.dim)

        def forward(**options):
            return network(u_BND, network.condition(caption), **options)

        flops = {
            "ar": forward_flops(forward),
            "ar_to_tap": forward_flops(lambda: forward(tap=layer, stop=True)),
        }
    return Piece(parameters(network), flops)


def text_encoder(width, layers, heads, kv_heads, head, hidden, vocabulary, slots):
    """The Piece of a Qwen3 without its output head: `text_encoder` reads one caption.

    width: C; head: width of a head; hidden: of the SwiGLU layer; slots: all are counted, as in
    `text_ar`. By formula, so that a plan needs no transformers."""
    attention = width * head * (2 * heads + 2 * kv_heads)  # query and output, key and value
    matrices = layers * (attention + 3 * width * hidden)
    norms = layers * (2 * width + 2 * head) + width
    # scores and their sums of values, each P x P for each of the query's heads
    reading = 2 * layers * heads * head * slots**2
    flops = 2 * (matrices * slots + reading)
    return Piece(vocabulary * width + matrices + norms, {"text_encoder": flops}, width=width)


@cache
def project(dim, hidden, target, tokens):
    with torch.device("meta"):
        network, h_BND = projector(dim, hidden, target), torch.empty(1, tokens, dim)
        return Piece(parameters(network), {"projector": forward_flops(lambda: network(h_BND))})
