"""Train a small stand-in for a pretrained vision encoder on the study's images.

The objective (objectives.py) defines the loss. Objectives that hide patches hide 40 % of them. The
patch grid is the tokenizer's token grid.

python -m gear.alignment.teachers.standin --job JSON --output DIR [--data MANIFEST]
"""

import argparse
import json

import torch

from gear import config
from gear.alignment.teachers.objectives import OBJECTIVES
from gear.data.memory import to_float
from gear.data.sets import image_set
from gear.files.aside import write
from gear.runtime import checkpoint, optim, rng
from gear.runtime.device import setup
from gear.runtime.progress import Progress

MASKED = 0.4  # share of hidden patches


@torch.no_grad()
def standardise(teacher, data):
    """Set the teacher's mean and std per channel, over all images and patches."""
    features = torch.cat([teacher.encode(to_float(x)) for x, _ in data.pieces(256)]).flatten(0, 1)
    teacher.mean.copy_(features.mean(0))
    teacher.std.copy_(features.std(0).clamp_min(1e-6))


def train(settings, spec, output, manifest=None):
    """Train for spec['steps'] with spec['batch']; write weights.safetensors and run.json.

    manifest: path of the images' manifest.json, needed if data.hold is stream."""
    setup(settings)
    data = image_set(settings, "train", manifest, spec["batch"], spec["seed"])
    shape = {
        "channels": settings.data.channels,
        "resolution": settings.data.resolution,
        "classes": settings.data.classes,
        "patch": settings.tokenizer.downsampling,
        "dim": spec["dim"],
        "layers": spec["layers"],
    }
    teacher = OBJECTIVES[spec["objective"]](**shape)
    average = optim.EMA(teacher, teacher.DECAY, warmup=True) if teacher.DECAY else None
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    write(f"{output}/metrics.jsonl", "")
    progress = Progress("teacher", 0, spec["steps"], spec["batch"], f"{output}/metrics.jsonl")
    for step in range(spec["steps"]):
        batch = data.batch(step)
        positions = torch.arange(teacher.side**2)
        drawn = rng.uniform((spec["seed"], "mask", step), batch.indices[:, None], positions[None])
        masked = torch.from_numpy(drawn < MASKED)
        target = average.module if average else None
        loss = teacher.loss(to_float(batch.images), batch.labels, masked, target)
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1, (step + 1) / 50)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if average:
            average.update(teacher, step)
        if (step + 1) % 50 == 0 or step + 1 == spec["steps"]:
            progress.report(step + 1, {"loss": loss.item()})
    teacher = average.module if average else teacher
    standardise(teacher, data)
    record = {"label": spec["label"], "shape": shape, "spec": spec}
    checkpoint.save_folder(output, {"teacher": teacher}, record)


def main():
    parser = argparse.ArgumentParser(description="Train the stand-in teacher.")
    parser.add_argument("--job", required=True, type=json.loads)
    parser.add_argument("--output", required=True)
    parser.add_argument("--data", help="manifest of the images")
    args = parser.parse_args()
    train(config.build(args.job["settings"]), args.job["spec"], args.output, args.data)


if __name__ == "__main__":
    main()
