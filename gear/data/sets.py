"""The image set of a study's settings: in memory, streamed (`data.hold`), or with captions."""

from gear.data.listing import Listing
from gear.data.memory import ImageSet
from gear.data.shards import ShardSet
from gear.data.stream import StreamSet
from gear.files.mistakes import Mistake
from gear.runtime import distributed

WHOLE = slice(None)
ROWS = 4096  # tokens of a piece: 256 MiB of scores at K = 16384


def image_set(settings, split, manifest, batch, seed, share=WHOLE):
    """The image set of a split: ImageSet or StreamSet, by data.hold; ShardSet, by data.source.

    batch: images per batch; seed: of the order; manifest: path of the manifest.json of the rule
    prepare_data, needed if data.hold is stream; share: slice of each batch for this process.
    Mistake: no manifest, or a wrong folder."""
    data = settings.data
    if data.source == "shards":
        return _shards(settings, split, manifest, batch, seed, share)
    if data.hold == "memory":
        return ImageSet(data, split, batch, seed, share)
    if manifest is None:
        raise Mistake(
            "data.hold is stream, which reads the list of files that prepare_data made; give its "
            "manifest.json as --data."
        )
    listing = Listing(manifest, split, data)
    return StreamSet(data, listing, batch, seed, settings.runtime.workers, share)


def _shards(settings, split, manifest, batch, seed, share):
    """The ShardSet of a split. Mistake: no manifest, or data.hold is memory."""
    if settings.data.hold != "stream":
        raise Mistake(
            f"data.hold is {settings.data.hold}, but shards are streamed; set data.hold: stream."
        )
    if manifest is None:
        raise Mistake(
            "data.source is shards, which are read by the index that prepare_captions made; give "
            "its manifest.json as --data."
        )
    workers = settings.runtime.workers
    return ShardSet(settings.data, manifest, split, batch, seed, workers, share)


def training_set(settings, manifest):
    """The training images of a run: this process's share of each batch."""
    batch = settings.optim.batch
    share = distributed.share(batch)
    return image_set(settings, "train", manifest, batch, settings.seed, share)


def validation_set(settings, manifest):
    """The validation images. They are read in pieces, not in batches."""
    return image_set(settings, "val", manifest, 1, 0)


def piece_of(settings):
    """Images per piece: at most ROWS tokens, at least one image."""
    side = settings.data.resolution // settings.tokenizer.downsampling
    return max(1, ROWS // side**2)
