"""Open-MAGVIT2's autoencoder network (arXiv 2409.04410; MAGVIT-v2, 2310.05737), of LFQ-16.

- residual blocks with convolutions without bias; the middle has as many as a level; no attention
- downsampling by a strided convolution, upsampling by a convolution and depth to space
- the decoder normalises each level's input with a scale and a shift from the quantized code

Shapes: B images, C channels, H x W pixels, Z code channels (`z_channels`), h x w positions.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import nn

from gear.tokenizer.vqgan import Residual

EPS = 1e-6


def _blocks(inner, outer, count, groups):
    """`count` residual blocks; the first changes the width from `inner` to `outer`."""
    widths = [inner] + [outer] * count
    return nn.Sequential(*(Residual(*widths[i : i + 2], groups, bias=False) for i in range(count)))


class Up(nn.Module):
    """(B, C, h, w) -> (B, C, 2 h, 2 w).

    A convolution gives 4 C channels, then follows depth to space. The 4 C channels are in the order
    (row, column, channel) of a 2 x 2 cell, as in ONNX's DCR mode. torch's pixel_shuffle has the
    order (channel, row, column)."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)

    def forward(self, x):
        cells = self.conv(x).unflatten(1, (2, 2, -1))  # (B, row, column, C, h, w)
        return cells.permute(0, 3, 4, 1, 5, 2).flatten(4).flatten(2, 3)


class AdaptiveGroupNorm(nn.Module):
    """GroupNorm with scale and shift from the code.

    Scale is linear in the code's standard deviation over h x w, shift in its mean."""

    def __init__(self, channels, z_channels, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=EPS, affine=False)
        self.scale = nn.Linear(z_channels, channels)
        self.shift = nn.Linear(z_channels, channels)

    def forward(self, x, code_BZhw):
        code = code_BZhw.flatten(2)
        deviation = (code.var(-1) + EPS).sqrt()  # unbiased
        scale, shift = self.scale(deviation), self.shift(code.mean(-1))
        return self.norm(x) * scale[..., None, None] + shift[..., None, None]


class Encoder(nn.Module):
    """(B, C, H, W) -> (B, Z, h, w)."""

    def __init__(self, config, channels):
        super().__init__()
        count, groups = config.encoder_blocks, config.groups
        widths = [config.channels] + [config.channels * m for m in config.multipliers]
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.levels, self.down = nn.ModuleList(), nn.ModuleList()
        for inner, outer in pairwise(widths):
            self.levels.append(_blocks(inner, outer, count, groups))
            last = len(self.levels) == len(config.multipliers)
            self.down.append(
                nn.Identity() if last else nn.Conv2d(outer, outer, 3, stride=2, padding=1)
            )
        self.middle = _blocks(widths[-1], widths[-1], count, groups)
        self.norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], config.z_channels, 1)

    def forward(self, x):
        h = self.conv_in(x)
        for level, down in zip(self.levels, self.down, strict=True):
            h = down(level(h))
        return self.conv_out(F.silu(self.norm_out(self.middle(h))))


class Decoder(nn.Module):
    """(B, Z, h, w) -> (B, C, H, W). Decoding starts at level 0, the coarsest."""

    def __init__(self, config, channels):
        super().__init__()
        count, groups, z = config.decoder_blocks, config.groups, config.z_channels
        widths = [config.channels * m for m in config.multipliers][::-1]
        widths = [widths[0], *widths]
        self.conv_in = nn.Conv2d(z, widths[0], 3, padding=1)
        self.middle = _blocks(widths[0], widths[0], count, groups)
        self.adaptive, self.levels, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for inner, outer in pairwise(widths):
            self.adaptive.append(AdaptiveGroupNorm(inner, z, groups))
            self.levels.append(_blocks(inner, outer, count, groups))
            last = len(self.levels) == len(config.multipliers)
            self.up.append(nn.Identity() if last else Up(outer))
        self.norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, code_BZhw):
        h = self.middle(self.conv_in(code_BZhw))
        for adaptive, level, up in zip(self.adaptive, self.levels, self.up, strict=True):
            h = up(level(adaptive(h, code_BZhw)))
        return self.conv_out(F.silu(self.norm_out(h)))
