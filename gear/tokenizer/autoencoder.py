"""The convolutional autoencoder around a quantizer (VQGAN, arXiv 2012.09841; LlamaGen, 2406.06525).

- residual blocks with GroupNorm and swish, attention at the coarsest level only
- one level per entry of `multipliers`, each but the last halves height and width
- `quant_conv` and `post_quant_conv` join the encoder's width and the code's (VQ, IBQ)

Shapes: B images, C channels, H x W pixels, D code width, h x w positions, N = h w in raster order.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.tokenizer.ibq import IBQ
from gear.tokenizer.lfq import LFQ
from gear.tokenizer.vq import VQ

QUANTIZERS = {"vq": VQ, "lfq": LFQ, "ibq": IBQ}


class Residual(nn.Module):
    def __init__(self, inner, outer, groups):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inner, eps=1e-6)
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, outer, eps=1e-6)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
        self.skip = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x):
        y = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(y)))


class Attention(nn.Module):
    """One head over all positions, 1 x 1 projections."""

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
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


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

    @property
    def last_layer(self):
        return self[-1].weight


class Tokenizer(nn.Module):
    """Images in [-1, 1] of shape (B, C, H, W) <-> tokens (B, N).

    config: gear.config.Tokenizer; channels: C."""

    def __init__(self, config, channels):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, channels)
        self.decoder = Decoder(config, channels)
        joined = config.z_channels != config.code_dim or config.quantizer != "lfq"
        width = (config.z_channels, config.code_dim)
        self.quant_conv = nn.Conv2d(*width, 1) if joined else nn.Identity()
        self.post_quant_conv = nn.Conv2d(*width[::-1], 1) if joined else nn.Identity()
        self.quantizer = QUANTIZERS[config.quantizer](config)

    @property
    def downsampling(self):
        return 2 ** (len(self.config.multipliers) - 1)

    def encode(self, x_BCHW):
        """z (B, N, D) before quantization, raster order."""
        return self.quant_conv(self.encoder(x_BCHW)).flatten(2).transpose(1, 2)

    def tokens(self, x_BCHW):
        """Indices (B, N) of frozen use, without gradients."""
        with torch.no_grad():
            return self.quantizer.scores(self.encode(x_BCHW)).argmax(-1)

    def decode_codes(self, code_BND):
        """Images (B, C, H, W), unclamped, from code vectors of a square grid."""
        B, N, D = code_BND.shape
        side = int(N**0.5)
        if side * side != N:
            raise ValueError(f"{N} tokens form no square grid; the tokenizer makes h x h tokens.")
        code = code_BND.transpose(1, 2).reshape(B, D, side, side)
        return self.decoder(self.post_quant_conv(code))

    def decode(self, indices_BN):
        return self.decode_codes(self.quantizer.lookup(indices_BN))

    def forward(self, x_BCHW):
        """(reconstruction (B, C, H, W), Quantized) for training."""
        quantized = self.quantizer(self.encode(x_BCHW))
        return self.decode_codes(quantized.code_BND), quantized
