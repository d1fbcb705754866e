"""Images with captions in shards, and the rule prepare_captions, which indexes them once.

    python -m gear.data.shards --path data/digits-shards --output DIR/manifest.json
        [--train N] [--val N]

`path` holds train/*.tar and val/*.tar; a sample is `{key}.json` ({"caption", "caption_type"}) with
`{key}.jpg`, `.jpeg` or `.png` (gear/data/tars.py). The short side of an image is resized as in a
folder, then the square in the middle is cut (paper, Table 17). Half of the training images are
mirrored, at (seed, epoch, image). Images whose caption names left or right are not mirrored, unless
data.flip_directions is true, as in the published code.

A sample whose caption is missing, null, empty or not a text is trained with the caption "", which
is the unconditional one. In training, a broken image is replaced by another sample with its
caption. The other sample is drawn at (seed, epoch, image, attempt), so that the batch is the same
for any number of processes. In validation a broken image is a Mistake.
"""

import argparse
import re
import sys
from typing import NamedTuple

import numpy as np
import torch

from gear.data import index, tars
from gear.data.decode import AHEAD, Ahead, Broken, decode
from gear.data.digits import SPLITS
from gear.data.memory import inputs
from gear.data.order import ShardOrder
from gear.data.stream import to_tensor
from gear.files.mistakes import Mistake, counted, some
from gear.runtime import rng

DIRECTION = re.compile(r"\b(left|right)(-?(most|hand(ed)?|wards?|side))?\b", re.IGNORECASE)
ATTEMPTS = 100  # replacements that are tried; if all fail, nearly all images are broken


class CaptionBatch(NamedTuple):
    images: torch.Tensor  # (B, C, H, W) uint8; of `parts` float32 in [-1, 1]
    captions: tuple  # (B,) str
    indices: np.ndarray  # (B,) numbers of these samples in the set
    epochs: np.ndarray  # (B,)

    def parts(self, size, device):
        """[CaptionBatch]: micro-batches of `size` images (0: one of all), on a device, images as
        floats. Images that are floats stay as they are."""
        size = size or len(self.images)
        images = inputs(self.images, size, device)
        cuts = [slice(i, i + size) for i in range(0, len(self.indices), size)]
        return [
            CaptionBatch(part, self.captions[cut], self.indices[cut], self.epochs[cut])
            for part, cut in zip(images, cuts, strict=True)
        ]


class ShardSet:
    """Captioned images; the interface of gear.data.stream.StreamSet, with captions for labels."""

    classes = []  # captioned images have no classes

    def __init__(self, data, manifest, split, batch, seed, workers, share=slice(None)):
        """data: config.Data; manifest: path of prepare_captions' manifest.json; workers: decoding
        processes, 0: this process decodes; share: slice of each batch for this process.

        Mistake: the manifest is of other shards, or a batch is larger than the set."""
        self.data, self.seed, self.share, self.workers = data, seed, share, workers
        self.index = index.Index(manifest, split, data.path)
        counts, folder = self.index.counts, self.index.folder
        self.order = ShardOrder(counts, data.shards_at_once, batch, seed, folder)
        self.files = tars.Files(self.index.check)
        self.broken = {}  # number of a sample: why its image was replaced
        self._asked = {}  # step: (epochs, numbers, captions), while their images are decoded
        rows = len(range(batch)[share])
        self._ahead = Ahead(self._orders, rows, data.resolution, data.channels, workers)

    def __len__(self):
        return len(self.index)

    def _bytes(self, number, part):
        """(shard, offset, bytes) of a sample's `json` or `image`."""
        row = self.index.rows[number]
        return self.index.shard(number), int(row[part]), int(row[f"{part}_size"])

    def caption(self, number):
        """The caption of a sample; "" where it has none. Mistake: the shard has changed."""
        shard, offset, size = self._bytes(number, "json")
        data = self.files.read(shard, offset, size)
        try:
            return tars.caption_of(data)[0]
        except Mistake:
            raise Mistake(
                f"{shard} has no json at byte {offset}, as it had when it was indexed; "
                f"{tars.DAMAGED}."
            ) from None

    def captions(self, begin, end):
        """[str]: the captions of the samples with these numbers."""
        return [self.caption(number) for number in range(begin, end)]

    def mirrored(self, epochs, numbers, captions):
        """(B,) bool: images that are mirrored in their epoch."""
        if not self.data.flip:
            return np.zeros(len(numbers), bool)
        chosen = rng.uniform((self.seed, "flip"), epochs, numbers) < 0.5
        if self.data.flip_directions:
            return chosen
        return chosen & np.array([not DIRECTION.search(text) for text in captions])

    def _order_of(self, number, mirrored=False):
        """What a decoding process receives."""
        return self._bytes(number, "image"), (self.data.interpolation, bool(mirrored))

    def _orders(self, step):
        epochs, numbers = (values[self.share] for values in self.order.chosen(step))
        captions = [self.caption(number) for number in numbers]
        self._asked[step] = epochs, numbers, captions
        flips = self.mirrored(epochs, numbers, captions)
        return [self._order_of(n, flip) for n, flip in zip(numbers, flips, strict=True)]

    def batch(self, step):
        """The CaptionBatch of optimizer step `step`, from 0.

        Mistake: more images are broken than data.broken_limit, or a shard has changed."""
        images_NHWC = self._ahead.get(step)
        epochs, numbers, captions = self._asked.pop(step)
        self._asked = {s: asked for s, asked in self._asked.items() if step < s < step + AHEAD}
        for row, why in sorted(self._ahead.broken.items()):
            self._note(numbers[row], why)
            found = self._replacement(int(epochs[row]), int(numbers[row]))
            numbers[row], captions[row], images_NHWC[row] = found
        images = to_tensor(images_NHWC)
        return CaptionBatch(images, tuple(captions), numbers, epochs)

    def _replacement(self, epoch, number):
        """(number, caption, image) of the sample that replaces one whose image is broken."""
        for attempt in range(ATTEMPTS):
            place = rng.uniform((self.seed, "broken"), epoch, number, attempt)
            other = min(int(place * len(self)), len(self) - 1)
            caption = self.caption(other)
            flip = self.mirrored(np.array([epoch]), np.array([other]), [caption])[0]
            try:
                order = self._order_of(other, flip)
                return other, caption, decode(order, self.data.resolution, self.data.channels)
            except Broken as error:
                self._note(other, str(error))
        raise self._too_many()

    def _note(self, number, why):
        """Count a broken image. Mistake: there are too many."""
        if int(number) in self.broken:
            return
        self.broken[int(number)] = why
        if len(self.broken) > self.data.broken_limit:
            raise self._too_many()

    def _too_many(self):
        first = [f"{self.name(n)} ({why})" for n, why in list(self.broken.items())[:3]]
        return Mistake(
            f"{counted(len(self.broken), 'image')} of {self.index.folder} cannot be read, and "
            f"data.broken_limit is {self.data.broken_limit}: {some(first)}; replace them and run "
            "prepare_captions again, or set a higher limit."
        )

    @property
    def replaced(self):
        """How many images this process has replaced, each counted once."""
        return len(self.broken)

    def name(self, number):
        """`shard/key` of a sample."""
        return f"{self.index.shard(number).rpartition('/')[2]}/{self.index.key(number)}"

    def _whole(self, numbers, images_NHWC, broken):
        """uint8 (n, C, H, W). Mistake: an image is broken."""
        if broken:
            row, why = min(broken.items())
            raise Mistake(
                f"{self.index.folder}/{self.name(numbers[row])}: the image cannot be read ({why}); "
                "replace or remove it in its shard, and run prepare_captions again."
            )
        return to_tensor(images_NHWC)

    def take(self, chosen):
        """uint8 (n, C, H, W) of the images with these numbers, as in validation.

        Mistake: one of them is broken."""
        return next(self._decoded([[int(n) for n in chosen]], 0))

    def pieces(self, size):
        """Yields (uint8 images (n, C, H, W), names `shard/key`), `size` images at a time.

        Mistake: an image is broken."""
        pieces = [range(len(self))[i : i + size] for i in range(0, len(self), size)]
        decoded = self._decoded(pieces, self.workers)
        for numbers, images in zip(pieces, decoded, strict=True):
            yield images, [self.name(number) for number in numbers]

    def _decoded(self, pieces, workers):
        """Yields the images of each list of numbers."""

        def orders(piece):
            if piece >= len(pieces):
                return []
            for shard in {self.index.shard(number) for number in pieces[piece]}:
                self.files.open(shard)
            return [self._order_of(number) for number in pieces[piece]]

        shape = self.data.resolution, self.data.channels
        ahead = Ahead(orders, max(map(len, pieces), default=0), *shape, workers)
        for piece, numbers in enumerate(pieces):
            images_NHWC = ahead.get(piece)
            yield self._whole(numbers, images_NHWC, ahead.broken)


def main():
    parser = argparse.ArgumentParser(description="Index the shards of captioned images, once.")
    parser.add_argument("--path", required=True, help="holds train/*.tar and val/*.tar")
    parser.add_argument("--output", required=True, help="manifest.json")
    for split in SPLITS:
        parser.add_argument(f"--{split}", type=int, help="samples that it must hold")
    args = parser.parse_args()
    try:
        manifest = index.prepare(
            args.path, args.output, {split: getattr(args, split) for split in SPLITS}
        )
    except Mistake as mistake:
        raise SystemExit(f"gear.data.shards: {mistake}") from None
    for split, record in manifest["splits"].items():
        say(split, record)


def say(split, record):
    """Print what a split holds and what of it is not used."""
    shards = counted(len(record["shards"]), "shard")
    print(f"{split}: {counted(record['samples'], 'sample')} in {shards}")
    for why, count in record["unconditional"].items():
        if count:
            what = "is empty or missing" if why == "empty" else "is no text"
            print(f"{split}: trained as unconditional, because the caption {what}: {count}")
    for why, count in record["skipped"].items():
        print(f"{split}: skipped, {why}: {count} ({index.SKIPPED} lists them)")
    if record["not_read"]:
        others = ", ".join(f"{n} {why}" for why, n in record["not_read"].items())
        print(f"{split}: members that are no part of a sample: {others}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
