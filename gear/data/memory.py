"""A data set that fits in memory, and the batch of each optimizer step."""

from typing import NamedTuple

import numpy as np
import torch

from gear.data.folder import load_folder
from gear.runtime import rng


class Batch(NamedTuple):
    images: torch.Tensor  # (B, C, H, W) float32 in [-1, 1]
    labels: torch.Tensor  # (B,) int64
    indices: np.ndarray  # (B,) which images of the set these are
    epoch: int


def to_float(images_uint8):
    """uint8 in 0..255 -> float32 in [-1, 1], as the tokenizer reads."""
    return images_uint8.float() / 127.5 - 1


def to_uint8(images):
    """float in [-1, 1], any overshoot clamped -> uint8, rounded."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


class ImageSet:
    """Training images; the order is a function of (seed, epoch), a flip of (seed, epoch, image)."""

    def __init__(self, data, split, batch, seed):
        """data: config.Data; split: train | val. ValueError where the folder does not fit it."""
        self.images, self.labels, _ = load_folder(
            data.path, split, data.channels, data.resolution, classes=data.classes
        )
        if batch > len(self.images):
            raise ValueError(
                f"optim.batch is {batch}, but {data.path}/{split} holds {len(self.images)} images; "
                "lower optim.batch or add images."
            )
        self.flip, self.size, self.seed = data.flip, batch, seed
        self.per_epoch = len(self.images) // batch
        self._epoch, self._order = -1, None

    def batch(self, step):
        """The Batch of optimizer step `step`, from 0."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order = rng.permutation((self.seed, "order", epoch), len(self.images))
            self._epoch = epoch
        chosen = self._order[position * self.size : (position + 1) * self.size]
        images = to_float(self.images[torch.from_numpy(chosen)])
        if self.flip:
            mirrored = rng.uniform((self.seed, "flip", epoch), chosen) < 0.5
            images[mirrored] = images[mirrored].flip(-1)
        return Batch(images, self.labels[torch.from_numpy(chosen)], chosen, epoch)
