"""Small stand-ins for pretrained vision encoders, one class for each training objective.

- a convolutional stem reduces the image to the token grid; then follow a few transformer layers
- features are the last block's normed output, standardised per channel over the training images
- each class is related to one real teacher by its loss, but it is no small copy of that teacher
- features must hold more than the image's class, because a class-conditional AR knows the class

Legend: B images, N = side^2 patches, D width; masked_BN: True where the input is hidden.
"""

import torch
import torch.nn.functional as F
from torch import nn


class StandinTeacher(nn.Module):
    """Images (B, C, H, W) in [-1, 1] -> features (B, N, F).

    channels, resolution: of the images; patch: side in pixels; dim: F; layers: of blocks."""

    DECAY = None  # of the moving average that gives the targets and is saved; None: no average

    def __init__(self, channels, resolution, classes, patch, dim, layers):
        super().__init__()
        self.patch, self.side, self.width = patch, resolution // patch, dim
        stem, inner = [], channels
        for i in range(patch.bit_length() - 1):
            outer = dim if 2 ** (i + 1) == patch else dim // 2
            stem += [nn.Conv2d(inner, outer, 3, 2, 1), nn.GELU()]
            inner = outer
        self.stem = nn.Sequential(*stem)
        self.position = nn.Parameter(torch.randn(1, self.side**2, dim) * 0.02)
        self.hidden = nn.Parameter(torch.zeros(1, 1, dim))
        layer = nn.TransformerEncoderLayer(
            dim, 4, 2 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit(self, resolution):
        """The teacher itself, adapted to images of another resolution.

        Positions are interpolated to the new grid as in DINOv2 (bicubic, antialiased), so there is
        one feature per token."""
        side = resolution // self.patch
        if side != self.side:
            grid = self.position.detach().unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
            grid = F.interpolate(grid, (side, side), mode="bicubic", antialias=True)
            self.position = nn.Parameter(grid.flatten(2).transpose(1, 2))
            self.side = side
        return self

    def encode(self, x, masked_BN=None):
        """Normed features (B, N, F) of images; masked patches are hidden."""
        if masked_BN is not None:
            B = x.shape[0]
            grid = masked_BN.view(B, 1, self.side, self.side)
            x = x * (1 - F.interpolate(grid.float(), scale_factor=float(self.patch)))
        h = self.stem(x).flatten(2).transpose(1, 2)
        if masked_BN is not None:
            h = torch.where(masked_BN[..., None], self.hidden, h)
        return self.norm(self.blocks(h + self.position))

    @torch.no_grad()
    def forward(self, x):
        """Standardised features (B, N, F)."""
        return (self.encode(x) - self.mean) / self.std

    def loss(self, x, labels, masked_BN, target=None):
        """The training loss, a 0-d tensor.

        target: the moving average of this network, if DECAY is not None."""
        raise AssertionError("an objective defines its loss")


class MaskedPatch(StandinTeacher):
    """Predicts the pixels of all patches from the visible patches and, weakly, the class."""

    PIXELS, CLASS = 5.0, 0.3

    def __init__(self, channels, resolution, classes, patch, dim, layers):
        super().__init__(channels, resolution, classes, patch, dim, layers)
        self.to_pixels = nn.Linear(dim, channels * patch * patch)
        self.to_class = nn.Linear(dim, classes)

    def loss(self, x, labels, masked_BN, target=None):
        h = self.encode(x, masked_BN)
        pixels = F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        mse = (self.to_pixels(h) - pixels).square().mean()
        return self.PIXELS * mse + self.CLASS * F.cross_entropy(self.to_class(h.mean(1)), labels)


class SelfDistillation(StandinTeacher):
    """Related to DINOv3: self-distillation with prototypes. No label is used.

    The moving average sees the whole image and assigns each patch, and the image, to prototypes.
    The network sees only the visible patches and must give the same assignments. Assignments are
    balanced over the batch by Sinkhorn-Knopp, as in DINOv2, against collapse."""

    DECAY, PROTOTYPES, SHARPNESS, STUDENT = 0.99, 128, 0.06, 0.1

    def __init__(self, channels, resolution, classes, patch, dim, layers):
        super().__init__(channels, resolution, classes, patch, dim, layers)
        self.of_patch = nn.Linear(dim, self.PROTOTYPES, bias=False)
        self.of_image = nn.Linear(dim, self.PROTOTYPES, bias=False)

    def _scores(self, h_BND):
        """[(B N, K), (B, K)]: cosines of patches and of images with the K prototypes."""
        patches, images = h_BND.flatten(0, 1), h_BND.mean(1)
        pairs = ((patches, self.of_patch), (images, self.of_image))
        return [F.linear(F.normalize(h, dim=-1), F.normalize(p.weight, dim=-1)) for h, p in pairs]

    def loss(self, x, labels, masked_BN, target=None):
        with torch.no_grad():
            scores = target._scores(target.encode(x))
            targets = [sinkhorn(s / self.SHARPNESS) for s in scores]
        scores = self._scores(self.encode(x, masked_BN))
        log_probs = [(s / self.STUDENT).log_softmax(-1) for s in scores]
        patches, images = (-(t * p).sum(-1) for t, p in zip(targets, log_probs, strict=True))
        return patches[masked_BN.flatten()].mean() + images.mean()


def sinkhorn(logits_MK, rounds=3):
    """exp(logits), scaled so that rows sum to 1 and columns have nearly equal sums."""
    p = (logits_MK - logits_MK.max()).exp()
    for _ in range(rounds):
        p = p / p.sum(0, keepdim=True)
        p = p / p.sum(1, keepdim=True)
    return p


class ImageCaption(StandinTeacher):
    """Related to SigLIP: for each pair of image and caption, whether they belong together.

    Digits have no captions, so captions are generated. Their words are the class and, for each
    quarter of the image, one of four amounts of ink. A text is the sum of its words' vectors."""

    INK = 4

    def __init__(self, channels, resolution, classes, patch, dim, layers):
        super().__init__(channels, resolution, classes, patch, dim, layers)
        self.classes = classes
        self.words = nn.Embedding(classes + 4 * self.INK, dim)
        self.text, self.image = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.tensor(-4.0))

    def captions(self, x, labels):
        """Word numbers (B, 5): the class, then one of INK words for each quarter."""
        ink = F.adaptive_avg_pool2d(x.mean(1, keepdim=True) / 2 + 0.5, 2).flatten(1)
        level = (ink * 2 * self.INK).long().clamp(0, self.INK - 1)  # ink is at most one half
        place = torch.arange(4) * self.INK + self.classes
        return torch.cat([labels[:, None], place + level], 1)

    def loss(self, x, labels, masked_BN, target=None):
        words = self.captions(x, labels)
        text = F.normalize(self.text(self.words(words).sum(1)), dim=-1)
        image = F.normalize(self.image(self.encode(x).mean(1)), dim=-1)
        logits = self.scale.exp() * image @ text.T + self.bias
        same = (words[:, None] == words[None]).all(-1)  # several images may have the same caption
        return -F.logsigmoid(torch.where(same, logits, -logits)).sum(1).mean()


class FeaturePrediction(StandinTeacher):
    """Related to V-JEPA: a predictor gives the features of hidden patches. No label is used.

    The targets are the moving average's features. They are standardised over the batch at each
    position, so a feature that is equal for all images is no target. This prevents collapse to
    constant features."""

    DECAY = 0.99

    def __init__(self, channels, resolution, classes, patch, dim, layers):
        super().__init__(channels, resolution, classes, patch, dim, layers)
        self.predictor = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def loss(self, x, labels, masked_BN, target=None):
        with torch.no_grad():
            h = target.encode(x)
            target_BND = (h - h.mean(0)) / (h.std(0) + 1e-3)
        prediction_BND = self.predictor(self.encode(x, masked_BN))
        return F.smooth_l1_loss(prediction_BND[masked_BN], target_BND[masked_BN])


OBJECTIVES = {
    "masked_patch": MaskedPatch,
    "self_distillation": SelfDistillation,
    "image_caption": ImageCaption,
    "feature_prediction": FeaturePrediction,
}
