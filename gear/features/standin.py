"""A small stand-in for Inception: a classifier trained on the study's images.

- four convolutions and 64 pooled features; the loss is classification and reconstruction of the
  image, so the features hold more than the class
- spatial features: the first 7 channels of the second convolution, as in sFID

python -m gear.features.standin --job JSON --output DIR [--data MANIFEST]
    writes the network and the reference batch
"""

import argparse
import json
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gear import config
from gear.data.memory import to_float
from gear.data.sets import image_set, validation_set
from gear.files.arrays import read_arrays
from gear.files.aside import aside, write
from gear.files.reading import read_record, whole_numbers
from gear.metrics.protocol import Features
from gear.runtime import checkpoint
from gear.runtime.device import setup
from gear.runtime.progress import Progress

POOLED, SPATIAL = 64, 7


class StandinClassifier(nn.Module):
    def __init__(self, channels, resolution, classes):
        super().__init__()
        widths = [channels, 24, 32, 64, POOLED]
        strides = [1, 2, 2, 1]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, s, 1)
            for a, b, s in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, w) for w in widths[1:])
        self.to_class = nn.Linear(POOLED, classes)
        self.to_image = nn.Linear(POOLED, channels * resolution**2)

    def forward(self, x):
        """(pooled (B, 64), spatial (B, 7 h w), logits (B, classes)) of images in [-1, 1]."""
        spatial = None
        for i, (conv, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = F.gelu(norm(conv(x)))
            if i == 1:
                spatial = x[:, :SPATIAL].flatten(1)
        pooled = x.mean((2, 3))
        return pooled, spatial, self.to_class(pooled)


@torch.no_grad()
def extract(network, images_uint8, batch=256):
    """Features of uint8 images (N, C, H, W), equal for every batch size."""
    parts, device = [[], [], []], network.to_class.weight.device
    for x in images_uint8.split(batch):
        pooled, spatial, logits = network(to_float(x.to(device)))
        for part, value in zip(parts, (pooled, spatial, logits.softmax(-1)), strict=True):
            part.append(value.cpu().numpy())
    return Features(*(np.concatenate(p).astype(np.float32) for p in parts))


def extract_all(network, data, batch=256):
    """Features of all images of a data set, in the order of the set."""
    parts = [vars(extract(network, images)) for images, _ in data.pieces(batch)]
    return Features(**{name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def load_network(folder):
    """The frozen network that `train` wrote."""
    shape = shape_of(folder)
    make = partial(StandinClassifier, **shape)
    least = POOLED * (shape["classes"] + shape["channels"] * shape["resolution"] ** 2)
    path = f"{folder}/weights.safetensors"
    network = checkpoint.load_network(path, "classifier", make, least)
    return network.eval().requires_grad_(False)


def shape_of(folder):
    """{'channels', 'resolution', 'classes'} of the images that the network was trained on."""
    path = f"{folder}/run.json"
    return whole_numbers(read_record(path), "shape", ("channels", "resolution", "classes"), path)


def load_reference(folder):
    """Features of the training images, of a folder that `train` wrote.

    Mistake: the file is missing or incomplete."""
    names = ("pooled", "spatial", "probs")
    found = read_arrays(f"{folder}/reference.npz", names, "remove its folder and run again")
    return Features(*(found[name] for name in names))


def train(settings, spec, output, manifest=None):
    """Train for spec['steps']; write weights, reference.npz, run.json with validation accuracy.

    manifest: path of the images' manifest.json, needed if data.hold is stream."""
    setup(settings)
    data = image_set(settings, "train", manifest, spec["batch"], spec["seed"])
    shape = {
        "channels": settings.data.channels,
        "resolution": settings.data.resolution,
        "classes": settings.data.classes,
    }
    network = StandinClassifier(**shape)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01, fused=True)
    write(f"{output}/metrics.jsonl", "")
    progress = Progress("classifier", 0, spec["steps"], spec["batch"], f"{output}/metrics.jsonl")
    for step in range(spec["steps"]):
        batch = data.batch(step)
        images = to_float(batch.images)
        pooled, _, logits = network(images)
        recon = network.to_image(pooled).view_as(images)
        loss = F.cross_entropy(logits, batch.labels) + (recon - images).square().mean()
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / spec["steps"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0 or step + 1 == spec["steps"]:
            progress.report(step + 1, {"loss": loss.item()})
    network.eval()
    validation = validation_set(settings, manifest)
    predictions = extract_all(network, validation).probs_NC.argmax(-1)
    accuracy = float((predictions == validation.labels.numpy()).mean())
    reference = extract_all(network, data)
    with aside(f"{output}/reference.npz") as part, open(part, "wb") as handle:
        np.savez(
            handle,
            pooled=reference.pooled_ND,
            spatial=reference.spatial_NS,
            probs=reference.probs_NC,
        )
    record = {"label": spec["label"], "shape": shape, "spec": spec, "accuracy": accuracy}
    checkpoint.save_folder(output, {"classifier": network}, record)
    print(f"stand-in classifier: validation accuracy {accuracy:.3f}")


def main():
    parser = argparse.ArgumentParser(description="Train the stand-in feature network.")
    parser.add_argument("--job", required=True, type=json.loads)
    parser.add_argument("--output", required=True)
    parser.add_argument("--data", help="manifest of the images")
    args = parser.parse_args()
    train(config.build(args.job["settings"]), args.job["spec"], args.output, args.data)


if __name__ == "__main__":
    main()
