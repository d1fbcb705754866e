"""The image set that a study's settings ask for: in memory, or decoded as it is read (`data.hold`)."""

from gear.data.listing import Listing
from gear.data.memory import ImageSet
from gear.data.stream import StreamSet
from gear.files.mistakes import Mistake
from gear.runtime import distributed

WHOLE = slice(None)
ROWS = 4096  # tokens of a piece: 256 MiB of scores at K = 16384


def image_set(settings, split, manifest, batch, seed, share=WHOLE):
    """The images of a split, in batches of `batch` in the order of `seed`.

    manifest: what the rule prepare_data wrote, read where files are streamed; share: the part of
    each batch that this process takes."""
    data = settings.data
    if data.hold == "memory":
        return ImageSet(data, split, batch, seed, share)
    if manifest is None:
        raise Mistake(
            "data.hold is stream, which reads the list of files that prepare_data made; give its "
            "manifest.json as --data."
        )
    listing = Listing(manifest, split, data)
    return StreamSet(data, listing, batch, seed, settings.runtime.workers, share)


def training_set(settings, manifest):
    """What a run trains on: this process's share of its batches."""
    batch = settings.optim.batch
    share = distributed.share(batch)
    return image_set(settings, "train", manifest, batch, settings.seed, share)


def validation_set(settings, manifest):
    """What a checkpoint is validated on; it is asked for pieces, not for batches."""
    return image_set(settings, "val", manifest, 1, 0)


def piece_of(settings):
    """Images of a piece."""
    side = settings.data.resolution // settings.tokenizer.downsampling
    return max(1, ROWS // side**2)
