"""What an image is conditioned on: vectors that stand before its tokens.

A condition is a module that turns what a batch carries of it (for a class: labels) into a Prefix.
It has a null, the prefix of no condition, and puts it where a sample's condition is dropped. The
transformer and the drawing know prefixes alone. A condition has:

- `slots`: how many slots its prefixes have at most
- `condition(items, dropped_B=None)`: the Prefix of a batch, with the null where dropped_B is true
- `condition.null(count)`: the Prefix of `count` samples without a condition

Shapes: B images, P slots of the prefix, D width of the AR, S = P + tokens, positions in all.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from gear.runtime import rng


class Prefix(NamedTuple):
    """The last slot predicts the first token. A sample that needs fewer slots than its batch has
    padding, which is not visible: no other position reads it, each slot always reads itself."""

    vectors_BPD: torch.Tensor
    visible_BP: torch.Tensor | None = None  # bool; None: every slot

    @property
    def slots(self):
        return self.vectors_BPD.shape[1]

    def mask(self, tokens):
        """Who reads whom (B, 1, S, S), bool: [query, key]. None where causality says it all."""
        if self.visible_BP is None:
            return None
        visible_BS = F.pad(self.visible_BP, (0, tokens), value=True)
        itself_SS = torch.eye(visible_BS.shape[1], dtype=torch.bool, device=visible_BS.device)
        # tril: no position reads a later one; 1: the mask of all heads
        return (visible_BS[:, None] | itself_SS).tril()[:, None]

    def padded(self, slots):
        """The same in `slots` slots: padding of zeros stands before the last one."""
        vectors_BPD, visible_BP, spare = *self, slots - self.slots
        if spare == 0:
            return self
        if visible_BP is None:
            visible_BP = torch.ones_like(vectors_BPD[..., 0], dtype=torch.bool)
        return Prefix(
            torch.cat([F.pad(vectors_BPD[:, :-1], (0, 0, 0, spare)), vectors_BPD[:, -1:]], 1),
            torch.cat([F.pad(visible_BP[:, :-1], (0, spare)), visible_BP[:, -1:]], 1),
        )

    def beside(self, other):
        """One batch of both, of one kind of condition; the shorter of them is padded."""
        slots = max(self.slots, other.slots)
        pairs = zip(self.padded(slots), other.padded(slots), strict=True)
        return Prefix(*(None if mine is None else torch.cat([mine, its]) for mine, its in pairs))


class ClassCondition(nn.Embedding):
    """One vector for each class, and one for the null, in the last row. One slot, always visible.

    It is the table itself, so that its weight is `condition.weight` in every file."""

    slots = 1

    def __init__(self, classes, dim):
        super().__init__(classes + 1, dim)
        self.classes = classes

    def forward(self, labels_B, dropped_B=None):
        if dropped_B is not None:
            labels_B = torch.where(dropped_B, self.classes, labels_B)
        return Prefix(super().forward(labels_B)[:, None])  # (B, D) -> (B, 1, D)

    def null(self, count):
        return self(torch.full((count,), self.classes, device=self.weight.device))


def dropped(share, seed, batch):
    """(B,) bool, on the CPU: whose condition a batch drops, drawn at (seed, epoch, image), so that
    it does not depend on how images are batched."""
    drawn = rng.uniform((seed, "label drop", batch.epoch), batch.indices)
    return torch.from_numpy(drawn < share)
