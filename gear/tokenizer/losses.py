"""L_VQ, the tokenizer's loss (paper eq. 2), and the discriminator's hinge loss.

Shapes: B images x and their reconstructions, (B, C, H, W) in [-1, 1].
"""

from pathlib import Path

import torch
import torch.nn.functional as F

from gear.files.mistakes import Mistake
from gear.runtime.device import autocast
from gear.tokenizer.entropy import entropy_loss


class Features(torch.nn.Module):
    """The feature maps of LPIPS, float32, of layers that run in `precision` (bf16 | fp32)."""

    def __init__(self, layers, precision):
        super().__init__()
        self.layers, self.precision = layers, precision

    def forward(self, x):
        with autocast(x.device, self.precision):
            maps = self.layers(x)
        return [features.float() for features in maps]


def make_lpips(vgg16, precision="fp32"):
    """LPIPS with VGG16 (arXiv 1801.03924), a frozen module.

    vgg16: local file of torchvision's weights. The linear heads come with the `lpips` package.
    precision: of VGG16's layers; what is computed of its feature maps is float32.
    Mistake: the file is missing, or holds other weights."""
    if not Path(vgg16).is_file():
        raise Mistake(
            f"loss.lpips is not 0 but loss.vgg16 ('{vgg16}') is no file; name torchvision's "
            "VGG16 ImageNet weights there, or set loss.lpips: 0."
        )
    wrong = Mistake(
        f"loss.vgg16 ('{vgg16}') does not hold torchvision's VGG16 weights; name the file of its "
        "ImageNet weights there."
    )
    try:
        state = torch.load(vgg16, map_location="cpu", weights_only=True)
        state = {k[9:]: v for k, v in state.items() if k.startswith("features.")}
    except Exception:
        raise wrong from None
    import lpips  # imported here: trainings without LPIPS do not need the package

    # pnet_rand: without it lpips would download a VGG16; the file's weights replace the random ones
    metric = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    features = torch.nn.Sequential()  # the layers have torchvision's numbers as names
    for number in range(1, 6):
        for name, layer in getattr(metric.net, f"slice{number}").named_children():
            features.add_module(name, layer)
    try:
        features.load_state_dict(state)
    except RuntimeError:
        raise wrong from None
    metric.net = Features(metric.net, precision)
    return metric.eval().requires_grad_(False)


def hinge_discriminator(real, fake):
    """0.5 E[relu(1 - D(x))] + 0.5 E[relu(1 + D(x_hat))], a 0-d tensor.

    real, fake: logits D of images and reconstructions, (B, 1, h, w)."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def tokenizer_loss(x, recon, quantized, weights, discriminator=None, lpips=None):
    """(total, {term: value}) of L_VQ (eq. 2), 0-d tensors; the terms are not weighted.

    weights: config.Loss. As published, the loss is always in float32, also under autocast; the
    critics' layers have a precision of their own (runtime.critics)."""
    with torch.autocast(x.device.type, enabled=False):
        return _tokenizer_loss(x.float(), recon.float(), quantized, weights, discriminator, lpips)


def _tokenizer_loss(x, recon, quantized, weights, discriminator, lpips):
    # the terms of eq. 2, and the codebook term of the published code
    parts = {"l1": (recon - x).abs().mean(), **quantized.losses}
    parts["entropy_loss"] = entropy_loss(quantized.assignment, weights.entropy_temperature)
    # the order is fixed, because float sums depend on it
    total = (
        weights.l1 * parts["l1"]
        + weights.codebook * parts["codebook"]
        + weights.commitment * parts["commitment"]
        + weights.entropy * parts["entropy_loss"]
    )
    if weights.l2:  # not in eq. 2
        parts["l2"] = (recon - x).square().mean()
        total = total + weights.l2 * parts["l2"]
    if lpips is not None:  # (B, 1, 1, 1): one value per image
        parts["lpips"] = lpips(recon, x).mean()
        total = total + weights.lpips * parts["lpips"]
    if discriminator is not None:
        # the generator's side of the hinge loss; its weight is constant, as published
        parts["gan"] = -discriminator(recon).mean()
        total = total + weights.gan * parts["gan"]
    return total, parts
