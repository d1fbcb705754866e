"""The images of each optimizer step's batch: a function of (seed, step).

The order needs no state, so a resumed training continues with the same batches. The order is the
same for any number of processes. An incomplete batch at the end of an epoch is dropped, as with
`drop_last`; with shards it is completed from the next epoch.
"""

import numpy as np

from gear.files.mistakes import Mistake
from gear.runtime import rng


class Order:
    def __init__(self, count, batch, seed, where):
        """count: images of the set; where: its folder, for the message.

        Mistake: fewer images than a batch."""
        if batch > count:
            raise Mistake(
                f"optim.batch is {batch}, but {where} holds {count} images; "
                "lower optim.batch or add images."
            )
        self.count, self.size, self.seed = count, batch, seed
        self.per_epoch = count // batch
        self._epoch, self._order = -1, None

    def chosen(self, step):
        """(epoch, image numbers (batch,)) of optimizer step `step`, from 0."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order = rng.permutation((self.seed, "order", epoch), self.count)
            self._epoch = epoch
        return epoch, self._order[position * self.size : (position + 1) * self.size]

    def mirrored(self, epoch, chosen):
        """(B,) in [0, 1): an image below 0.5 is mirrored in that epoch, if data.flip is true."""
        return rng.uniform((self.seed, "flip", epoch), chosen)

    def places(self, epoch, chosen):
        """(B, 2) in [0, 1): top and left of an image's random crop in that epoch."""
        return rng.uniform((self.seed, "crop", epoch), chosen[:, None], [[0, 1]])


class ShardOrder:
    """The samples of each optimizer step's batch, for samples in shards.

    Every epoch permutes the shards. In this order, each group of `at_once` shards has its samples
    permuted together. A training therefore reads few shards at a time, and no permutation is longer
    than the samples of a group. Every sample comes once in an epoch: the last batch of an epoch
    takes its missing samples from the order of the next epoch."""

    def __init__(self, counts, at_once, batch, seed, where):
        """counts: (S,) samples of each shard; where: their folder, for the message.

        Mistake: fewer samples than a batch."""
        self.counts, self.at_once, self.size, self.seed = counts, at_once, batch, seed
        self.begins, self.total = np.cumsum(counts) - counts, int(np.sum(counts))
        if batch > self.total:
            raise Mistake(
                f"optim.batch is {batch}, but {where} holds {self.total} samples; lower "
                "optim.batch or add samples."
            )
        self._epochs, self._groups = {}, {}

    def chosen(self, step):
        """(epochs (batch,), sample numbers (batch,)) of optimizer step `step`, from 0."""
        epochs, places = np.divmod(step * self.size + np.arange(self.size), self.total)
        numbers = np.empty_like(places)
        for epoch in np.unique(epochs):
            ends = self._shards(int(epoch))[1]
            groups = np.searchsorted(ends, places, "right")
            for group in np.unique(groups[epochs == epoch]):
                own = (epochs == epoch) & (groups == group)
                begin = ends[group - 1] if group else 0
                numbers[own] = self._samples(int(epoch), int(group))[places[own] - begin]
        return epochs, numbers

    def _shards(self, epoch):
        """(shards in the epoch's order (S,), number of samples up to the end of each group)."""
        if epoch not in self._epochs:
            shards = rng.permutation((self.seed, "shards", epoch), len(self.counts))
            last = [*range(self.at_once - 1, len(shards) - 1, self.at_once), len(shards) - 1]
            _keep(self._epochs, epoch, (shards, np.cumsum(self.counts[shards])[last]))
        return self._epochs[epoch]

    def _samples(self, epoch, group):
        """The sample numbers of a group of shards, in the epoch's order."""
        if (epoch, group) not in self._groups:
            shards = self._shards(epoch)[0][group * self.at_once :][: self.at_once]
            numbers = [self.begins[s] + np.arange(self.counts[s]) for s in shards]
            numbers = np.concatenate(numbers)
            order = rng.permutation((self.seed, "samples", epoch, group), len(numbers))
            _keep(self._groups, (epoch, group), numbers[order])
        return self._groups[epoch, group]


def _keep(cache, key, value, count=3):
    """Put a value into a dict, which keeps the last `count`."""
    cache[key] = value
    while len(cache) > count:
        del cache[next(iter(cache))]
