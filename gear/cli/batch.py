"""`gear batch`: the images that a training saw at one of its steps, as a PNG grid and an .npz.

The order of images is a function of (seed, step), and crops and mirroring of (seed, epoch, image).
So the batch is read again by the data set of the trainer, without the training.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
from PIL import Image

from gear.data.png import enlarged, save_png
from gear.data.sets import image_set
from gear.data.transforms import crop_place
from gear.files.mistakes import Mistake
from gear.files.outputs import require_free
from gear.sampling.generate import save_arrays
from gear.study.needs import split


def read(settings, manifest, step):
    """{name: array} of the batch of optimizer step `step`, from 1, as the progress line counts.

    images uint8 (B, H, W, C), labels (B,), indices (B,): numbers in the set, names (B,), mirrored
    (B,) bool, crops (B, 2): left and top in pixels of the resized image, or -1 for whole images.
    Images with captions: see `_captioned`."""
    runtime = dataclasses.replace(settings.runtime, workers=0)
    settings = dataclasses.replace(settings, runtime=runtime)
    data = image_set(settings, "train", manifest, settings.optim.batch, settings.seed)
    batch = data.batch(step - 1)
    images = batch.images.permute(0, 2, 3, 1).contiguous().numpy()
    if settings.reads_text:
        return {"images": images} | _captioned(data, batch)
    mirrored = np.zeros(len(images), bool)
    if settings.data.flip:
        mirrored = data.order.mirrored(batch.epoch, batch.indices) < 0.5
    listing = getattr(data, "listing", None)
    named = [listing.name(i) if listing else data.names[i] for i in batch.indices]
    crops = np.full((len(images), 2), -1, np.int64)
    if listing:
        places = data.order.places(batch.epoch, batch.indices)
        for row, (number, (top, left)) in enumerate(zip(batch.indices, places, strict=True)):
            with Image.open(listing.path(number)) as image:
                crops[row] = crop_place(image.size, settings.data.resolution, top, left)
    return {
        "images": images,
        "labels": batch.labels.numpy(),
        "indices": batch.indices,
        "names": np.array(named),
        "mirrored": mirrored,
        "crops": crops,
        "epoch": np.int64(batch.epoch),
    }


def _captioned(data, batch):
    """{name: array} of a CaptionBatch: captions, names `shard/key`, epochs (B,), no labels."""
    return {
        "captions": np.array(batch.captions),
        "indices": batch.indices,
        "names": np.array([data.name(i) for i in batch.indices]),
        "mirrored": data.mirrored(batch.epochs, batch.indices, batch.captions),
        "epochs": batch.epochs,
        "epoch": batch.epochs[0],
    }


def grid(images_NHWC):
    """uint8 (rows H, columns W, C): the images from left to right, then down; the rest is black."""
    N, H, W, C = images_NHWC.shape
    columns = math.ceil(math.sqrt(N))
    rows = -(-N // columns)
    tiles = np.zeros((rows * columns, H, W, C), np.uint8)
    tiles[:N] = images_NHWC
    tiles = tiles.reshape(rows, columns, H, W, C).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(rows * H, columns * W, C)


def main(study, reference, output, force=False):
    """Write the batch of `run@step`: the PNG `output`, and an .npz of the same name.

    study: registry.Study; step: a number of optimizer steps, or a milestone such as 400k; force:
    files that are there may be replaced. Mistake: no such run or step, or no images."""
    if Path(output).suffix.lower() != ".png":
        raise Mistake(f"--output is '{output}'; the grid is a PNG, name it *.png.")
    beside = Path(output).with_suffix(".npz")
    require_free({"output": output, "": beside}, force)
    name, step = split(reference, "gear batch")
    run = study.run(name, "gear batch")
    last = list(run.steps.values())[-1]
    number = run.steps.get(step, int(step) if step.isdigit() else 0)
    if not 1 <= number <= last:
        raise Mistake(
            f"gear batch: {name} has no step '{step}'; write a number from 1 to {last}, or one of "
            f"{', '.join(run.steps)}."
        )
    arrays = read(run.settings, study.manifest(name), number)
    save_arrays(str(beside), arrays)
    save_png(output, enlarged(grid(arrays["images"]), run.settings.data.resolution))
    count, epoch = len(arrays["indices"]), int(arrays["epoch"])
    print(f"{output}, {beside}: the {count} images of step {number} of {name}, epoch {epoch}")
