"""Training images decoded a second, by one core and by processes: python benchmarks/decoding.py

The published way is torchvision's ImageFolder with Resize, RandomCrop and RandomHorizontalFlip on
PIL images; every other way makes the same crops of the same files, and is compared with it pixel by
pixel. The files are made here: smooth pictures with grain, JPEG of quality 90, of ImageNet's usual
500 x 375 pixels and of a camera's size. Rounds alternate between the ways; the best one counts.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torchvision import io
from torchvision import transforms as tv
from torchvision.datasets.folder import pil_loader
from torchvision.transforms import functional as F

from gear.data.decode import Ahead
from gear.data.transforms import open_image, pixels, random_crop, resize_short, training_pixels

SIZE = 256
SHAPES = {"500 x 375": 48, "1600 x 1200": 12}  # files of each
PLACE = (0.3, 0.6, 0.4)  # top, left, flip: mirrored


def make(path, width, height, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    picture = (smooth + rng.normal(0, 8, smooth.shape)).round().clip(0, 255).astype(np.uint8)
    Image.fromarray(picture).save(path, quality=90)


RANDOM = [tv.RandomCrop(SIZE), tv.RandomHorizontalFlip(), tv.PILToTensor()]
PUBLISHED = tv.Compose([tv.Resize(SIZE, tv.InterpolationMode.BICUBIC), *RANDOM])


def published(path):
    """The pixels of the published way, with its random crop and flip at our place."""
    image = F.resize(pil_loader(path), SIZE, tv.InterpolationMode.BICUBIC)
    return np.asarray(F.hflip(random_crop(image, SIZE, *PLACE[:2])))


def ours(path):
    return training_pixels(path, 3, SIZE, PLACE)


def box(path):
    """Only the part of the image that the crop needs is resized."""
    image = open_image(path, 3)
    width, height = image.size
    wide, high = (int(SIZE * n / min(width, height)) for n in (width, height))
    left, top = int(PLACE[1] * (wide - SIZE + 1)), int(PLACE[0] * (high - SIZE + 1))
    x, y = width / wide, height / high
    part = (left * x, top * y, (left + SIZE) * x, (top + SIZE) * y)
    return pixels(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=part))[:, ::-1]


def draft(path):
    """libjpeg decodes at half size, or less, where the short side stays above the resolution."""
    with Image.open(path) as image:
        image.draft("RGB", (SIZE, SIZE))
        image = resize_short(image.convert("RGB"), SIZE)
    return pixels(random_crop(image, SIZE, *PLACE[:2]))[:, ::-1]


def tensors(path):
    """torchvision decodes and torch resizes, both on uint8."""
    image = io.decode_jpeg(io.read_file(str(path)), io.ImageReadMode.RGB)
    _, height, width = image.shape
    high, wide = (int(SIZE * n / min(width, height)) for n in (height, width))
    resized = interpolate(image[None], (high, wide), mode="bicubic", antialias=True)[0]
    top, left = int(PLACE[0] * (high - SIZE + 1)), int(PLACE[1] * (wide - SIZE + 1))
    return F.hflip(F.crop(resized, top, left, SIZE, SIZE)).permute(1, 2, 0).numpy()


FIRST = "published: ImageFolder, Resize, RandomCrop, flip"
WAYS = {
    FIRST: published,
    "ours": ours,
    "ours, only the crop's part resized": box,
    "ours with PIL's draft": draft,
    "torchvision decode_jpeg, torch resize": tensors,
}

TIMED = {FIRST: lambda path: PUBLISHED(pil_loader(path))}  # with its own random numbers


def speed_of(function, files):
    """Images a CPU second, which another process's work disturbs least."""
    began = time.process_time()
    for path in files:
        function(path)
    return len(files) / (time.process_time() - began)


def difference(function, files):
    """What a way's pixels are, compared with the published ones."""
    pairs = [(function(p).astype(int), published(p).astype(int)) for p in files]
    gaps = np.concatenate([np.abs(a - b).ravel() for a, b in pairs])
    if not gaps.any():
        return "the same"
    return f"{100 * (gaps > 0).mean():.2f} % differ, by {gaps.max()} at most"


def through(workers, files, batches=24, rows=32):
    """Images a second of `workers` processes, as a training gets them."""
    orders = [(str(files[i % len(files)]), PLACE) for i in range(rows)]
    ahead = Ahead(lambda number: orders, rows, SIZE, 3, workers)
    ahead.get(0)  # they have started
    began = time.perf_counter()
    for number in range(1, batches + 1):
        ahead.get(number)
    return batches * rows / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description="Measure how fast training images are decoded.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sets = {}
        for shape, count in SHAPES.items():
            width, height = map(int, shape.split(" x "))
            sets[shape] = [Path(folder) / f"{width}-{i}.jpg" for i in range(count)]
            for i, path in enumerate(sets[shape]):
                make(path, width, height, i)
        mean = np.mean([p.stat().st_size for p in sets["500 x 375"]]) / 1000
        print(f"files of 500 x 375 have {mean:.0f} kB; images a second of one core\n")
        print("| way | 500 x 375 | pixels | 1600 x 1200 | pixels |")
        print("| --- | ---: | --- | ---: | --- |")
        speed = {(w, s): 0.0 for w in WAYS for s in sets}
        for _ in range(args.rounds):
            for way, shape in speed:
                found = speed_of(TIMED.get(way, WAYS[way]), sets[shape])
                speed[way, shape] = max(speed[way, shape], found)
        for way, function in WAYS.items():
            cells = [(f"{speed[way, s]:.0f}", difference(function, sets[s])) for s in sets]
            print(f"| {way} | {' | '.join(x for cell in cells for x in cell)} |")
        print("\n| processes | images a second, 500 x 375 |\n| ---: | ---: |")
        for workers in args.workers:
            print(f"| {workers} | {through(workers, sets['500 x 375']):.0f} |")


if __name__ == "__main__":
    main()
