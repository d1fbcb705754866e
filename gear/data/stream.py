"""A data set that does not fit in memory: files are decoded shortly before use.

The order of the images is a function of (seed, epoch). Crop and flip are functions of (seed, epoch,
image). A training may therefore begin at any step, and the number of workers changes no pixel.
"""

import numpy as np
import torch

from gear.data.decode import Ahead, decode
from gear.data.memory import Batch
from gear.data.order import Order


def to_tensor(images_NHWC):
    """A uint8 tensor (n, C, H, W), a copy of the array."""
    return torch.from_numpy(images_NHWC.transpose(0, 3, 1, 2).copy())


class StreamSet:
    """Random crops for training, centre crops for validation; the interface of ImageSet."""

    def __init__(self, data, listing, batch, seed, workers, share=slice(None)):
        """data: config.Data; listing: data.listing.Listing of the split; workers: decoding
        processes, 0: this process decodes; share: slice of each batch for this process."""
        self.data, self.listing, self.workers, self.share = data, listing, workers, share
        self.classes = listing.classes
        self.labels = torch.from_numpy(listing.labels)
        self.order = Order(len(listing), batch, seed, listing.folder)
        rows = len(range(batch)[share])
        self._ahead = Ahead(self._orders, rows, data.resolution, data.channels, workers)

    def __len__(self):
        return len(self.listing)

    def _chosen(self, step):
        epoch, numbers = self.order.chosen(step)
        return epoch, numbers[self.share]

    def _orders(self, step):
        """[(path, (top, left, flip))] of a batch; the last three are in [0, 1)."""
        epoch, numbers = self._chosen(step)
        u_N3 = np.ones((len(numbers), 3))
        u_N3[:, :2] = self.order.places(epoch, numbers)
        if self.data.flip:
            u_N3[:, 2] = self.order.mirrored(epoch, numbers)
        return [(self.listing.path(i), tuple(u)) for i, u in zip(numbers, u_N3, strict=True)]

    def batch(self, step):
        """The Batch of optimizer step `step`, from 0."""
        epoch, chosen = self._chosen(step)
        images = to_tensor(self._ahead.get(step))
        return Batch(images, self.labels[torch.from_numpy(chosen)], chosen, epoch)

    def _centred(self, numbers):
        return [(self.listing.path(i), self.data.interpolation) for i in numbers]

    def take(self, chosen):
        """uint8 (n, C, H, W) of the images with these numbers, as in validation."""
        shape = self.data.resolution, self.data.channels
        return to_tensor(np.stack([decode(order, *shape) for order in self._centred(chosen)]))

    def pieces(self, size):
        """Yields (uint8 images (n, C, H, W), names `class/file`), `size` images at a time."""

        def numbers(piece):
            return range(len(self))[piece * size : (piece + 1) * size]

        shape = self.data.resolution, self.data.channels
        ahead = Ahead(lambda piece: self._centred(numbers(piece)), size, *shape, self.workers)
        for piece in range(-(-len(self) // size)):
            yield to_tensor(ahead.get(piece)), [self.listing.name(i) for i in numbers(piece)]
