"""The keys and values of drawing, and steps whose shapes are all equal.

A length class is a multiple of CLASS positions. Keys and values of up to that many positions lie
side by side in memory. Steps of fixed shapes read a whole class and hide what is not there yet.

Shapes: B rows (two for an image if there is guidance), U of which differ, P slots of the prefix, S
positions that are read, E positions of a length class, D width, H heads, d head width, K codes.
"""

import torch

from gear.ar.condition import Prefix
from gear.ar.transformer import Cache, Decoder

CLASS = 64


def length_class(positions):
    """The least multiple of CLASS that is not below `positions`."""
    return -(-positions // CLASS) * CLASS


class Growing(Cache):
    """A Cache with room for one length class at a time.

    Attention reads the valid part of each head. In a Cache of the full length these parts lie far
    apart, which is slower on a CPU."""

    def __init__(self, cache):
        """In place of an empty Cache."""
        self.length, self.limit = 0, cache.k.shape[2]
        self.k, self.v = torch.empty_like(cache.k[:, :, :0]), torch.empty_like(cache.v[:, :, :0])

    def extend(self, k, v):
        end = self.length + k.shape[2]
        if end > self.k.shape[2]:
            room = min(length_class(end), self.limit)
            self.k, self.v = self._grown(self.k, room), self._grown(self.v, room)
        return super().extend(k, v)

    def _grown(self, x_BHSd, room):
        B, H, _, d = x_BHSd.shape
        new = x_BHSd.new_empty(B, H, room, d)
        new[:, :, : self.length] = x_BHSd[:, :, : self.length]
        return new

    def spread(self, few, of_B):
        """Take the keys and values of the rows of_B of a cache with fewer rows."""
        self.length = few.length
        self.k, self.v = (self._spread(x, of_B) for x in (few.k, few.v))

    def _spread(self, x_UHSd, of_B):
        valid = slice(self.length)
        new = x_UHSd.new_empty(len(of_B), *x_UHSd.shape[1:])
        new[:, :, valid] = x_UHSd[:, :, valid][of_B]
        return new


def distinct(prefix):
    """((U,) the numbers of the rows that differ, (B,) the place among them of each row's equal),
    int64 on the CPU. Rows are equal if all their bytes are."""
    parts = [x.contiguous().flatten(1).view(torch.uint8) for x in prefix if x is not None]
    rows = [row.tobytes() for row in torch.cat(parts, 1).numpy()]
    first = {}  # bytes of a row: the first number that has them
    for number, row in enumerate(rows):
        first.setdefault(row, number)
    place = {row: place for place, row in enumerate(first)}
    return torch.tensor(list(first.values())), torch.tensor([place[row] for row in rows])


class Steps(Decoder):
    """A Decoder whose attention reads the positions so far and no others.

    On a CPU, equal prefixes, as those without a condition, go through the network once. On a GPU
    the host would have to wait for it, to find them."""

    def __init__(self, ar, prefix):
        super().__init__(ar, prefix)
        self.caches = [Growing(cache) for cache in self.caches]

    def next_state(self, x_BSD):
        if self.caches[0].length or x_BSD.device.type != "cpu":
            return super().next_state(x_BSD)
        first_U, of_B = distinct(self.prefix)
        if len(first_U) == len(of_B):
            return super().next_state(x_BSD)
        rows = Prefix(*(None if x is None else x[first_U] for x in self.prefix))
        few = Steps(self.ar, rows)
        state_U1D = few.next_state(x_BSD[first_U])
        for cache, its in zip(self.caches, few.caches, strict=True):
            cache.spread(its, of_B)
        return state_U1D[of_B]


class Fixed:
    """Keys and values of one block at all positions. The numbers of the positions that are written
    are a tensor, so that they can change between two runs of a recorded step."""

    def __init__(self, shape, like):
        # zeros: what is hidden has weight 0, and 0 times a number must be 0
        self.k, self.v = like.new_zeros(shape), like.new_zeros(shape)
        self.at_S, self.end = None, 0

    def extend(self, k, v):
        self.k.index_copy_(2, self.at_S, k)
        self.v.index_copy_(2, self.at_S, v)
        return self.k[:, :, : self.end], self.v[:, :, : self.end]


class FixedDecoder:
    """The network of a Decoder with one shape for all steps of a length class.

    All prefixes have the slots that the AR has room for."""

    def __init__(self, ar, rows):
        self.ar, self.slots, config = ar, ar.condition.slots, ar.config
        length = length_class(self.slots + ar.length - 1)
        weight, heads = ar.embedding.weight, config.heads
        shape = rows, heads, length, config.dim // heads
        self.caches = [Fixed(shape, weight) for _ in ar.blocks]
        self.places_E = torch.arange(length, device=weight.device)
        self.visible_BE = torch.ones(rows, length, dtype=torch.bool, device=weight.device)

    def first_logits(self, prefix):
        """(B, K) after a prefix with new images."""
        visible_BP = prefix.visible_BP
        self.visible_BE[:, : self.slots] = True if visible_BP is None else visible_BP
        at_S = self.places_E[: self.slots]
        return self.next_logits(prefix.vectors_BPD, at_S, length_class(self.slots), self.slots)

    def next_logits(self, x_BSD, at_S, end, text=0):
        """(B, K) after the positions at_S, which are below the length class `end`."""
        rope, mask = self.ar.rope.index_select(0, at_S), self.mask(at_S, end)
        for block, cache in zip(self.ar.blocks, self.caches, strict=True):
            cache.at_S, cache.end = at_S, end
            x_BSD = block(x_BSD, rope, mask, cache, text)
        return self.ar.head(self.ar.norm(x_BSD[:, -1:]))[:, 0]

    def mask(self, at_S, end):
        """(B, 1, S, E) bool, [query, key]: as Prefix.mask."""
        places_E, visible_BE = self.places_E[:end], self.visible_BE[:, :end]
        before_SE = places_E < at_S[:, None]
        itself_SE = places_E == at_S[:, None]
        return ((before_SE & visible_BE[:, None]) | itself_SE)[:, None]
