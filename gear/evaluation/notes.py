"""What a reader of a score must know: samples, counts or a reference that do not fit the protocol.

A note is a sentence for people. It changes no number; what cannot be compared at all is refused
before, in the modules that read the files.
"""

from pathlib import Path

from PIL import Image

MARK = "gear"  # key of the text in a PNG that says what made it
RECONSTRUCTION = "reconstruction"


def of_counts(protocol, count, real):
    """Notes on the numbers of images. real: the reference's Summary."""
    from gear.evaluation.reference import UNSTATED

    published = protocol.published.get("images")
    if published and count != published:
        yield (
            f"{count} images were scored, protocol {protocol.name} is published with {published}; "
            "a Fréchet distance depends on the number, so compare only with values of as many."
        )
    if real.count == UNSTATED:
        yield (
            "the reference does not say of which images, nor of how many, its statistics are; "
            "compare only with values against the same file."
        )
    elif published and real.count < published:
        yield (
            f"the reference has {real.count} images, fewer than the {published} of the samples of "
            f"protocol {protocol.name}; compare only with values against the same reference."
        )


def of_sizes(sizes, wanted):
    """Notes on pixels. sizes: {(height, width)} of samples; wanted: the reference's, or None."""
    if wanted is None:
        yield (
            "the reference states no resolution, so it was not compared with that of the samples."
        )
        return
    for size in sorted(set(sizes) - {tuple(wanted)}):
        yield (
            f"samples of {size[1]} x {size[0]} pixels were resized to {wanted[1]} x {wanted[0]}, "
            "the reference's, before they were scored."
        )


def of_reconstructions(samples, real_source):
    """A note where the samples are reconstructions, but the protocol compares whole sets.

    samples: a set of gear.evaluation.images; real_source: what was named as the reference."""
    names = getattr(samples, "names", None)
    if not names:
        return
    if _mark(Path(samples.path) / names[0]) == RECONSTRUCTION or _same_names(names, real_source):
        yield (
            "the samples are reconstructions; the reference is of other images, such as those of "
            "the training, or compares the sets as wholes: protocol reconstruction compares each "
            "with its original."
        )


def _mark(path):
    """What a PNG says that made it, or None."""
    if path.suffix.lower() != ".png":
        return None
    with Image.open(path) as image:
        return image.info.get(MARK)


def _same_names(names, real_source):
    """Whether the reference is a folder with the same names, their endings apart."""
    from gear.data.finding import find_images

    if not isinstance(real_source, str | Path) or not Path(real_source).is_dir():
        return False
    both = names, find_images(real_source)[0]
    ours, theirs = ({name.rpartition(".")[0] for name in found} for found in both)
    return ours == theirs
