"""LlamaGen with text: the AR's blocks, the first third of which has two streams.

- a caption is given as the features of a frozen encoder. A small MLP turns them into the prefix
- a block with two streams has an attention norm, query, key, value and output for text alone. Text
  and image share one causal attention and one feed-forward layer
- no slot has a position (gear/ar/transformer.py). The order of words reaches the network through
  the features and through causality. With ar.prefix_rope `zero`, as published, all visible text
  has the same weight in an attention, and the text's own query and key get no gradient. With
  `identity` they get one
- padding may be left out. Of the padded slots only the last one reaches an image, because it
  predicts the first token. A caption of n tokens therefore needs n + 1 slots

Shapes as in gear/ar/transformer.py: B images, P slots, S = P + tokens, D width; C of the features.
"""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from gear.ar.condition import Prefix
from gear.ar.transformer import Block, Transformer


class Text(NamedTuple):
    """Captions as the encoder's features.

    The first slots are the caption's tokens, which are visible. The other slots are padding. The
    last slot predicts the first token; it is visible only if the caption fills all slots that the
    AR has."""

    features_BPC: torch.Tensor
    visible_BP: torch.Tensor  # bool


class TextCondition(nn.Module):
    """The Prefix of captions. It has no null of its own; the null is the Prefix of the caption "".

    text: gear.config.Text; dim: D."""

    def __init__(self, text, dim):
        super().__init__()
        self.slots = text.slots
        self.fc1 = nn.Linear(text.width, dim, bias=False)
        self.fc2 = nn.Linear(dim, dim, bias=False)

    def forward(self, text):
        """The Prefix (B, P, D) of a Text."""
        features_BPC = text.features_BPC.to(self.fc1.weight.dtype)
        hidden_BPD = F.gelu(self.fc1(features_BPC), approximate="tanh")
        return Prefix(self.fc2(hidden_BPD), text.visible_BP)


class TextBlock(Block):
    """A block with two streams: its first `text` positions have projections of their own."""

    def __init__(self, config):
        super().__init__(config)
        self.text_norm = nn.RMSNorm(config.dim, eps=1e-5)
        self.text_qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.text_out = nn.Linear(config.dim, config.dim, bias=False)

    def projected(self, x_BSD, text):
        def own(x_BPD):
            return self.text_qkv(self.text_norm(x_BPD))

        return _streams(x_BSD, text, own, partial(super().projected, text=0))

    def gathered(self, y_BSD, text):
        return _streams(y_BSD, text, self.text_out, partial(super().gathered, text=0))


def _streams(x_BSD, text, of_text, of_image):
    """The first `text` positions through one function, the others through another."""
    if text == 0:  # in decoding, all steps but the first
        return of_image(x_BSD)
    return torch.cat([of_text(x_BSD[:, :text]), of_image(x_BSD[:, text:])], 1)


class TextTransformer(Transformer):
    """The AR of captions (paper Table 17); used as gear.ar.transformer.Transformer is.

    config: gear.config.AR; codebook_size: K; text: gear.config.Text; side: tokens in a row of the
    image."""

    def __init__(self, config, codebook_size, text, side):
        super().__init__(config, codebook_size, text, side)

    def make_condition(self, text):
        return TextCondition(text, self.config.dim)

    def make_block(self, number):
        return (TextBlock if number <= two_streams(self.config.layers) else Block)(self.config)


def two_streams(layers):
    """The number of blocks with two streams: the first third of all blocks, as published."""
    return max(1, round(layers / 3))
