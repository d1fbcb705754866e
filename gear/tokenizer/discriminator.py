"""PatchGAN (pix2pix, arXiv 1611.07004): strided 4 x 4 convolutions, one logit per patch."""

from torch import nn

from gear.runtime.device import autocast
from gear.tokenizer.batchnorm import BatchNorm2d


class PatchGAN(nn.Sequential):
    """(B, C, H, W) in [-1, 1] -> (B, 1, h, w) logits.

    All layers but the first and the last have BatchNorm over all processes. The layers run in
    `precision` (bf16 | fp32; published: fp32), whatever autocast is around them; the logits are
    float32."""

    def __init__(self, channels, width=64, layers=3, precision="fp32"):
        stack = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        inner = width
        for i in range(1, layers + 1):
            outer = width * min(2**i, 8)
            stride = 2 if i < layers else 1
            stack += [
                nn.Conv2d(inner, outer, 4, stride, 1, bias=False),
                BatchNorm2d(outer),
                nn.LeakyReLU(0.2),
            ]
            inner = outer
        stack += [nn.Conv2d(inner, 1, 4, 1, 1)]
        super().__init__(*stack)
        self.precision = precision
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, x):
        with autocast(x.device, self.precision):
            logits = super().forward(x.float())
        return logits.float()
