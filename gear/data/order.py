"""Which images make the batch of an optimizer step: a function of (seed, step) alone.

It needs no state, so a resumed training goes on where it was, and it is the same for any number of
processes. The images left over at the end of an epoch are not in it, as with `drop_last`.
"""

from gear.files.mistakes import Mistake
from gear.runtime import rng


class Order:
    def __init__(self, count, batch, seed, where):
        """count: images of the set; where: its folder, for the message. Mistake: too few."""
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
        """(B,) in [0, 1): images below 0.5 are mirrored in that epoch, where the set mirrors."""
        return rng.uniform((self.seed, "flip", epoch), chosen)

    def places(self, epoch, chosen):
        """(B, 2) in [0, 1): where the random crop of an image lies in that epoch, top and left."""
        return rng.uniform((self.seed, "crop", epoch), chosen[:, None], [[0, 1]])
