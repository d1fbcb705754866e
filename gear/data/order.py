"""The images of each optimizer step's batch: a function of (seed, step).

The order needs no state, so a resumed training continues with the same batches. The order is the
same for any number of processes. An incomplete batch at the end of an epoch is dropped, as with
`drop_last`.
"""

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
