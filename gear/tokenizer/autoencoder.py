"""The tokenizer: an encoder, a quantizer and a decoder.

- `tokenizer.network` chooses the network of VQGAN or of Open-MAGVIT2
- `quant_conv` and `post_quant_conv` map between the encoder's width and the code's (VQ, IBQ)

Shapes: B images, C channels, H x W pixels, D code width, h x w positions, N = h w in raster order.
"""

import torch
from torch import nn

from gear.files.mistakes import Mistake
from gear.tokenizer import magvit2, vqgan
from gear.tokenizer.ibq import IBQ
from gear.tokenizer.lfq import LFQ
from gear.tokenizer.vq import VQ

NETWORKS = {"vqgan": vqgan, "magvit2": magvit2}
QUANTIZERS = {"vq": VQ, "lfq": LFQ, "ibq": IBQ}


def _require_groups(config):
    """Mistake: tokenizer.groups does not divide the channels of a level."""
    for width in (config.channels * m for m in config.multipliers):
        if config.groups < 1 or width % config.groups:
            raise Mistake(
                f"tokenizer.groups is {config.groups}, which does not divide the {width} channels "
                "of a level (tokenizer.channels times a multiplier); choose a divisor."
            )


class Tokenizer(nn.Module):
    """Images in [-1, 1] of shape (B, C, H, W) <-> tokens (B, N).

    config: gear.config.Tokenizer; channels: C. Mistake: groups that do not divide a level."""

    def __init__(self, config, channels):
        super().__init__()
        self.config = config
        _require_groups(config)
        network = NETWORKS[config.network]
        self.encoder = network.Encoder(config, channels)
        self.decoder = network.Decoder(config, channels)
        joined = config.z_channels != config.code_dim or config.quantizer != "lfq"
        width = (config.z_channels, config.code_dim)
        self.quant_conv = nn.Conv2d(*width, 1) if joined else nn.Identity()
        self.post_quant_conv = nn.Conv2d(*width[::-1], 1) if joined else nn.Identity()
        self.quantizer = QUANTIZERS[config.quantizer](config)

    @property
    def downsampling(self):
        """Side of the image patch of one token, in pixels."""
        return self.config.downsampling

    def blocks(self):
        """[module]: the residual and attention blocks of encoder and decoder."""
        kinds = (vqgan.Residual, vqgan.Attention)
        return [module for module in self.modules() if isinstance(module, kinds)]

    def use(self, form):
        """Take the reference or the fused form of assignment and blocks; see Settings.kernels."""
        self.quantizer.form = self.quantizer.forms[form]
        for module in self.modules():
            if isinstance(module, vqgan.Residual | vqgan.Up):
                module.form = form
        return self

    def encode(self, x_BCHW):
        """z (B, N, D) of images, before quantization, in raster order."""
        return self.quant_conv(self.encoder(x_BCHW)).flatten(2).transpose(1, 2)

    def tokens(self, x_BCHW):
        """Code indices (B, N) of images, int64, without gradients."""
        with torch.no_grad():
            return self.quantizer.assignment(self.encode(x_BCHW)).hard()

    def decode_codes(self, code_BND):
        """Images (B, C, H, W) of code vectors, not clamped. Mistake: N is no square number."""
        B, N, D = code_BND.shape
        side = int(N**0.5)
        if side * side != N:
            raise Mistake(f"{N} tokens form no square grid; the tokenizer makes h x h tokens.")
        code = code_BND.transpose(1, 2).reshape(B, D, side, side)
        return self.decoder(self.post_quant_conv(code))

    def decode(self, indices_BN):
        """Images (B, C, H, W) of code indices, not clamped. Mistake: N is no square number."""
        return self.decode_codes(self.quantizer.lookup(indices_BN))

    def forward(self, x_BCHW):
        """(reconstruction (B, C, H, W), Quantized) for training."""
        quantized = self.quantizer(self.encode(x_BCHW))
        return self.decode_codes(quantized.code_BND), quantized
