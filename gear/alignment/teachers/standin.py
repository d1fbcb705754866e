"""A small stand-in for a pretrained vision encoder, trained in the workflow on the study's images.

- masked patches: 40 % of the patches are hidden; the loss is the pixels of all patches and, weakly,
  the class. A teacher trained on classes alone knows nothing that a class-conditional AR does not
- features are the last block's normed output, standardised per channel over the training images
- its patch grid is the tokenizer's token grid

python -m gear.alignment.teachers.standin --job JSON --output DIR [--data MANIFEST]
"""

import argparse
import json

import torch
import torch.nn.functional as F
from torch import nn

from gear import config
from gear.data.memory import to_float
from gear.data.sets import image_set
from gear.runtime import checkpoint, rng
from gear.runtime.loop import setup
from gear.runtime.progress import Progress

MASKED, PIXELS, CLASS = 0.4, 5.0, 0.3


class StandinTeacher(nn.Module):
    """channels, resolution of the images; patch in pixels; dim F; layers of the transformer."""

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
        self.to_pixels = nn.Linear(dim, channels * patch * patch)
        self.to_class = nn.Linear(dim, classes)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def encode(self, x, masked_BN=None):
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

    def loss(self, x, labels, masked_BN):
        h = self.encode(x, masked_BN)
        pixels = F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        mse = (self.to_pixels(h) - pixels).square().mean()
        return PIXELS * mse + CLASS * F.cross_entropy(self.to_class(h.mean(1)), labels)


@torch.no_grad()
def standardise(teacher, data):
    """Set mean and std of the features, per channel, over all images and patches."""
    features = torch.cat([teacher.encode(to_float(x)) for x, _ in data.pieces(256)]).flatten(0, 1)
    teacher.mean.copy_(features.mean(0))
    teacher.std.copy_(features.std(0).clamp_min(1e-6))


def train(settings, spec, output, manifest=None):
    """Train for spec['steps'] with spec['batch']; write weights.safetensors and run.json.

    manifest: of the images, where data.crop is random."""
    setup(settings)
    data = image_set(settings, "train", manifest, spec["batch"], spec["seed"])
    shape = {
        "channels": settings.data.channels,
        "resolution": settings.data.resolution,
        "classes": settings.data.classes,
        "patch": 2 ** (len(settings.tokenizer.multipliers) - 1),
        "dim": spec["dim"],
        "layers": spec["layers"],
    }
    teacher = StandinTeacher(**shape)
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    checkpoint.write_text(f"{output}/metrics.jsonl", "")
    progress = Progress("teacher", 0, spec["steps"], spec["batch"], f"{output}/metrics.jsonl")
    for step in range(spec["steps"]):
        batch = data.batch(step)
        positions = torch.arange(teacher.side**2)
        drawn = rng.uniform((spec["seed"], "mask", step), batch.indices[:, None], positions[None])
        loss = teacher.loss(batch.images, batch.labels, torch.from_numpy(drawn < MASKED))
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1, (step + 1) / 50)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0 or step + 1 == spec["steps"]:
            progress.report(step + 1, {"loss": loss.item()})
    standardise(teacher, data)
    checkpoint.save_weights(f"{output}/weights.safetensors", {"teacher": teacher})
    checkpoint.write_json(
        f"{output}/run.json", {"label": spec["label"], "shape": shape, "spec": spec}
    )


def main():
    parser = argparse.ArgumentParser(description="Train the stand-in teacher.")
    parser.add_argument("--job", required=True, type=json.loads)
    parser.add_argument("--output", required=True)
    parser.add_argument("--data", help="manifest of the images")
    args = parser.parse_args()
    train(config.build(args.job["settings"]), args.job["spec"], args.output, args.data)


if __name__ == "__main__":
    main()
