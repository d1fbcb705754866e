"""VQGAN's autoencoder network (arXiv 2012.09841; LlamaGen, 2406.06525), of VQ-16 and IBQ-16.

- residual blocks with GroupNorm and swish, attention at the coarsest level only
- one level per entry of `multipliers`; each level but the last halves height and width
- two forms (Settings.kernels): `reference`, and `fused`, which keeps fewer maps for the backward
  pass and widens by one transposed convolution
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


def activated(norm, conv, x, form):
    """conv(silu(norm(x))). The fused form keeps x alone and makes what lies between again in the
    backward pass, with the same bits; the convolution itself is not run again."""

    def whole(x):
        return conv(F.silu(norm(x)))

    if form == "reference" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return whole(x)
    return checkpoint(whole, x, use_reentrant=False, preserve_rng_state=False)


class Residual(nn.Module):
    """(B, inner, h, w) -> (B, outer, h, w): two 3 x 3 convolutions and a skip connection.

    The skip connection has a 1 x 1 convolution if the width changes."""

    form = "reference"

    def __init__(self, inner, outer, groups, bias=True):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inner, eps=1e-6)
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1, bias=bias)
        self.norm2 = nn.GroupNorm(groups, outer, eps=1e-6)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=bias)
        self.skip = nn.Conv2d(inner, outer, 1, bias=bias) if inner != outer else nn.Identity()

    def forward(self, x):
        y = activated(self.norm1, self.conv1, x, self.form)
        return self.skip(x) + activated(self.norm2, self.conv2, y, self.form)


class Attention(nn.Module):
    """(B, C, h, w) -> the same: one attention head over all positions, 1 x 1 projections."""

    def __init__(self, channels, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        y = self.norm(x)
        q, k, v = (f(y).flatten(2).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.out(y.transpose(1, 2).reshape(x.shape))


class Down(nn.Module):
    """(B, C, h, w) -> (B, C, h / 2, w / 2) by a strided convolution."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    """(B, C, h, w) -> (B, C, 2 h, 2 w): nearest neighbour, then a convolution.

    The fused form is one transposed convolution with 4/9 of the products: where neighbours are
    equal, the weights that meet them are added first. Below 8 x 8 it is the slower one on a CPU."""

    form = "reference"

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        if self.form == "reference" or min(x.shape[2:]) < 8:
            return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        weight = spread(spread(self.conv.weight, 2), 3).transpose(0, 1)
        return F.conv_transpose2d(x, weight, self.conv.bias, stride=2, padding=1)


def spread(weight, axis):
    """Three taps a, b, c on twice repeated neighbours -> four taps of a transposed convolution."""
    a, b, c = weight.unbind(axis)
    return torch.stack([c, b + c, a + b, a], axis)


def _middle(config, width):
    before, after = (Residual(width, width, config.groups) for _ in range(2))
    return [before, Attention(width, config.groups), after] if config.attention else [before, after]


def _level(inner, outer, blocks, attention, groups):
    layers = []
    for i in range(blocks):
        layers.append(Residual(inner if i == 0 else outer, outer, groups))
        if attention:
            layers.append(Attention(outer, groups))
    return layers


class Encoder(nn.Sequential):
    """(B, C, H, W) -> (B, z_channels, h, w)."""

    def __init__(self, config, channels):
        widths = [config.channels * m for m in config.multipliers]
        layers = [nn.Conv2d(channels, config.channels, 3, padding=1)]
        inner = config.channels
        for i, width in enumerate(widths):
            last = i == len(widths) - 1
            attention = last and config.attention
            layers += _level(inner, width, config.encoder_blocks, attention, config.groups)
            layers += [] if last else [Down(width)]
            inner = width
        layers += _middle(config, inner)
        layers += [nn.GroupNorm(config.groups, inner, eps=1e-6), nn.SiLU()]
        layers += [nn.Conv2d(inner, config.z_channels, 3, padding=1)]
        super().__init__(*layers)


class Decoder(nn.Sequential):
    """(B, z_channels, h, w) -> (B, C, H, W)."""

    def __init__(self, config, channels):
        widths = [config.channels * m for m in config.multipliers][::-1]
        inner = widths[0]
        layers = [nn.Conv2d(config.z_channels, inner, 3, padding=1)]
        layers += _middle(config, inner)
        for i, width in enumerate(widths):
            attention = i == 0 and config.attention
            layers += _level(inner, width, config.decoder_blocks, attention, config.groups)
            layers += [] if i == len(widths) - 1 else [Up(width)]
            inner = width
        layers += [nn.GroupNorm(config.groups, inner, eps=1e-6), nn.SiLU()]
        layers += [nn.Conv2d(inner, channels, 3, padding=1)]
        super().__init__(*layers)
