"""The reduced GEAR step of this working tree beside that of a commit.

    python benchmarks/step.py 0c419d3                # 3 rounds of 2 steps each
    python benchmarks/step.py 0c419d3 --rounds 1

64 pixels, batch 8, K 16384, VQ-16, an AR of 4 layers of width 384, LPIPS (random VGG16 weights),
PatchGAN, DINOv2-B of random weights, float32. All networks are at their start; one step is not
counted. See benchmarks/beside.py for what is measured; the last line is JSON with the ratios to the
commit.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from beside import alternate, measured, report

from gear import config
from gear.alignment.teachers.load import network
from gear.data.memory import Batch
from gear.runtime.device import setup
from gear.study.stages import STAGES

ROOT = Path(__file__).resolve().parent.parent
BATCH = 8
SETTINGS = {
    "data.resolution": 64,
    "ar.layers": 4,
    "ar.dim": 384,
    "ar.heads": 6,
    "align.layer": 2,
    "optim.batch": BATCH,
    "runtime.precision": "fp32",
    "runtime.threads": 1,
}


def teacher(resolution):
    """DINOv2-B with random weights, frozen."""
    kind = network("dinov2")
    found = kind({"img_size": kind.SIZES[0], **kind.SHAPE}, resolution)
    found.fit()
    return found.eval().requires_grad_(False)


def work(vgg16):
    """A function that does the next step, after a first one."""
    settings = config.build(SETTINGS | {"loss.vgg16": vgg16})
    setup(settings)
    trainer = STAGES["joint"].trainer(settings, teacher=teacher(settings.data.resolution))
    trainer.tune()
    images = torch.rand(BATCH, 3, *[settings.data.resolution] * 2) * 2 - 1
    batch = Batch(images, torch.arange(BATCH), np.arange(BATCH), 0)
    trainer.step(batch, 0)
    return lambda: trainer.step(batch, 1)


def write_vgg16(path):
    """A file in the layout of torchvision's VGG16 weights, of random numbers."""
    from torchvision.models import vgg16

    features = vgg16(weights=None).features.state_dict()
    torch.save({f"features.{key}": value for key, value in features.items()}, path)


def code_of(commit, folder):
    """The package of a commit in a new folder."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit, "gear"], cwd=ROOT, capture_output=True)
    if archive.returncode:
        raise SystemExit(f"step: git knows no commit '{commit}'; name one of `git log`.")
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", nargs="?", help="the commit that is compared with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2, help="steps of a round")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        torch.set_num_threads(1)
        print(json.dumps(measured(work(args.child["vgg16"]), args.child["repeats"])))
        return
    if args.commit is None:
        parser.error("name the commit that is compared with")
    with tempfile.TemporaryDirectory() as top:
        vgg16 = str(Path(top, "vgg16.pth"))
        write_vgg16(vgg16)
        code = {args.commit: code_of(args.commit, Path(top, "base")), "here": ROOT}
        options = {"vgg16": vgg16, "repeats": args.repeats}
        found = alternate(__file__, list(code), options, args.rounds, code)
    report(found, args.commit)


if __name__ == "__main__":
    main()
