"""A data set that fits in memory, and the batch of each optimizer step."""

from typing import NamedTuple

import numpy as np
import torch

from gear.data.folder import class_names, load_folder
from gear.data.order import Order


def to_device(tensor, device):
    """A copy of a CPU tensor on a device.

    The copy to a GPU uses pinned memory. From other memory the CPU would wait until the copy is
    done, even with `non_blocking`."""
    if device.type == "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_float(images_uint8):
    """uint8 in 0..255 -> float32 in [-1, 1], the input of the tokenizer; on the images' device.

    The divisor is a tensor: torch divides by a number on a GPU by multiplying with its reciprocal,
    which rounds otherwise than a CPU's division."""
    return images_uint8.float() / torch.full((), 127.5, device=images_uint8.device) - 1


def inputs(images, size, device):
    """Micro-batches of `size` images on a device, float32 in [-1, 1].

    uint8 images become float there, so that a quarter of the bytes is copied."""
    images = to_device(images, device)
    return [part if part.is_floating_point() else to_float(part) for part in images.split(size)]


class Batch(NamedTuple):
    images: torch.Tensor  # (B, C, H, W) uint8; of `parts` float32 in [-1, 1]
    labels: torch.Tensor  # (B,) int64
    indices: np.ndarray  # (B,) numbers of these images in the set
    epoch: int

    def parts(self, size, device):
        """[Batch]: micro-batches of `size` images (0: one of all), on a device, images as floats.

        Images that are floats stay as they are."""
        size = size or len(self.images)
        images = inputs(self.images, size, device)
        labels = to_device(self.labels, device).split(size)
        places = range(0, len(self.indices), size)
        indices = [self.indices[i : i + size] for i in places]
        triples = zip(images, labels, indices, strict=True)
        return [Batch(*triple, self.epoch) for triple in triples]


def to_uint8(images):
    """float in [-1, 1] -> uint8, rounded; values outside are clamped."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


class ImageSet:
    """Images in memory. Order depends on (seed, epoch), flips on (seed, epoch, image).

    gear.data.stream.StreamSet has the same interface; gear/data/sets.py chooses between them."""

    def __init__(self, data, split, batch, seed, share=slice(None)):
        """data: config.Data; split: train | val; share: slice of each batch for this process.

        Mistake: the folder does not fit the settings."""
        self.images, self.labels, self.names = load_folder(
            data.path, split, data.channels, data.resolution, classes=data.classes
        )
        self.classes = class_names(data.path, split, data.classes)
        self.order = Order(len(self.images), batch, seed, f"{data.path}/{split}")
        self.flip, self.share = data.flip, share

    def __len__(self):
        return len(self.images)

    def batch(self, step):
        """The Batch of optimizer step `step`, from 0."""
        epoch, chosen = self.order.chosen(step)
        chosen = chosen[self.share]
        images = self.images[torch.from_numpy(chosen)]
        if self.flip:
            mirrored = self.order.mirrored(epoch, chosen) < 0.5
            images[mirrored] = images[mirrored].flip(-1)
        return Batch(images, self.labels[torch.from_numpy(chosen)], chosen, epoch)

    def take(self, chosen):
        """uint8 (n, C, H, W) of the images with these numbers, as in validation."""
        return self.images[torch.as_tensor(chosen)]

    def pieces(self, size):
        """Yields (uint8 images (n, C, H, W), names `class/file`), `size` images at a time."""
        for i in range(0, len(self), size):
            yield self.images[i : i + size], self.names[i : i + size]
