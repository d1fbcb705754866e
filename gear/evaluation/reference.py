"""The real side of a protocol: made from images, read from a published file, or kept as our own.

- ADM's .npz: arr_0, the images of precision and recall, and mu, sigma, mu_s, sigma_s, the moments
  of the whole training set; without moments those of its images count, as in ADM's evaluator
- pytorch-fid's and clean-fid's .npz: mu and sigma alone
- GPIC's .npz: dino_mu, dino_sigma and, for measures of single images, dino_embeddings
- a folder of images
- ours: the moments with their count, the rows that the protocol needs, and what they are of
"""

from pathlib import Path

import numpy as np

from gear.data import finding
from gear.evaluation.images import open_images, watched
from gear.files.arrays import keys, read_arrays
from gear.files.aside import aside
from gear.files.mistakes import Mistake
from gear.metrics.frechet import Statistics
from gear.metrics.protocol import PROTOCOLS, Features, Summary, chosen_settings

MOMENTS = {"pooled": ("mu", "sigma"), "spatial": ("mu_s", "sigma_s")}
GPIC = {"mu": "dino_mu", "sigma": "dino_sigma", "pooled": "dino_embeddings"}  # our key: its key
CURE = "make or download it again"
UNSTATED = 2**62  # the count of moments whose file does not say of how many images they are
# numbers of a row of features, by which a file of another network is told
WIDTHS = {
    "adm": {"pooled": 2048, "spatial": 17 * 17 * 7},
    "clean": {"pooled": 2048},
    "coco": {"pooled": 2048},
    "fdd": {"pooled": 1024},
}


class Reference:
    """A Summary of real images, and their height and width, None where unknown."""

    def __init__(self, summary, size=None):
        self.summary, self.size = summary, size


def peek(path, protocol):
    """(size, classes) of a reference's images, None where unknown, before any long work.

    Mistake where it is no reference of the protocol."""
    if not Path(path).exists():
        raise Mistake(f"{path} is missing; name the reference, an .npz or a folder of images.")
    if not Path(path).is_dir() and Path(path).suffix != ".npz":
        raise Mistake(f"{path} is no .npz and no folder of images; name such a reference.")
    fields = [] if Path(path).is_dir() else check(path, protocol)
    if "protocol" in fields:
        return _said(path)[2], None
    if fields and "arr_0" not in fields:
        return None, None
    images = open_images(path, protocol.square)
    finding.warn(images.path, images.left_out)
    require_neighbours(images, protocol)
    return images.size, images.classes


def require_neighbours(images, protocol):
    """Mistake where there are too few images for the protocol's measures."""
    least = 1 + chosen_settings(protocol, {})["neighbours"] if protocol.reference_rows else 2
    if images.count < least:
        raise Mistake(
            f"{images.path} holds {images.count} images, protocol {protocol.name} needs at least "
            f"{least} of each side; give more."
        )


def _said(path):
    """(sha256 of the weights, number of images, their size or None) of a Reference of ours."""
    weights, count, size = read_arrays(path, ("weights", "count", "size")).values()
    if count.ndim or count.dtype.kind not in "iu" or size.dtype.kind not in "iu":
        raise Mistake(f"{path} is no reference of ours: its count or size is no number; {CURE}.")
    if size.shape not in ((0,), (2,)) or count < 2:
        raise Mistake(f"{path} is of {count} images of shape {size.tolist()}; {CURE}.")
    return str(weights), int(count), tuple(size.tolist()) or None


def _rows(path, protocol):
    """{part: (N, D)} of a Reference of ours. Mistake: of another shape or not finite."""
    rows = _arrays(path, protocol.reference_rows)
    for part, matrix in rows.items():
        width = WIDTHS[protocol.name][part]
        if matrix.ndim != 2 or matrix.shape[1] != width or matrix.dtype.kind != "f":
            raise Mistake(
                f"{path}: {part} is {matrix.dtype} of shape {matrix.shape}, features of protocol "
                f"{protocol.name} have {width} numbers; {CURE}."
            )
        if not np.isfinite(matrix).all():
            raise Mistake(f"{path}: {part} holds NaN or infinity; {CURE}.")
    return rows


def names(path):
    """{our key: key in the file} of an .npz; they differ in GPIC's file alone."""
    fields, theirs = keys(path), {v: k for k, v in GPIC.items()}
    gpic = GPIC["mu"] in fields
    return {theirs.get(field, field) if gpic else field: field for field in fields}


def _arrays(path, wanted):
    """{our key: array} of an .npz. Mistake: one is missing."""
    known = names(path)
    found = read_arrays(path, [known.get(key, key) for key in wanted])
    return dict(zip(wanted, found.values(), strict=True))


def check(path, protocol):
    """Our keys of an .npz. Mistake where it is no reference of the protocol."""
    fields = list(names(path))
    if "protocol" in fields:
        stated = str(read_arrays(path, ("protocol",))["protocol"])
        if stated != protocol.name:
            raise Mistake(
                f"{path} is a reference of protocol {stated}, not of {protocol.name}; features of "
                "two protocols do not compare: make or name another."
            )
    wanted = [key for part in protocol.moments for key in MOMENTS[part]]
    have = [key for key in wanted if key in fields]
    if not have and "arr_0" in fields:
        return fields
    if have != wanted:
        missing = next(key for key in wanted if key not in fields)
        raise Mistake(
            f"{path} has no {missing}, which protocol {protocol.name} needs (it holds "
            f"{', '.join(fields)}); it is of another protocol: name a reference of {protocol.name}."
        )
    if protocol.reference_rows and not {"arr_0", "pooled"} & set(fields):
        raise Mistake(
            f"{path} has moments alone, but {protocol.name} also compares single images; name a "
            f"reference with images (arr_0) or features ({GPIC['pooled']}), or a folder of images."
        )
    return fields


def moments(path, protocol, count):
    """{part: Statistics} of an .npz. Mistake where they are of another network or damaged."""
    statistics = {}
    for part in protocol.moments:
        mean, cov = _arrays(path, MOMENTS[part]).values()
        if mean.dtype.kind != "f" or cov.dtype.kind != "f":
            raise Mistake(f"{path}: {part} moments are {mean.dtype}, no floats; {CURE}.")
        width = WIDTHS[protocol.name][part]
        if mean.shape != (width,) or cov.shape != (width, width):
            raise Mistake(
                f"{path}: {MOMENTS[part][0]} has shape {mean.shape} and {MOMENTS[part][1]} "
                f"{cov.shape}, features of protocol {protocol.name} have {width} numbers; it is a "
                "reference of another protocol."
            )
        if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
            raise Mistake(f"{path}: {part} moments hold NaN or infinity; download it again.")
        statistics[part] = Statistics(count, mean.astype(np.float64), cov.astype(np.float64))
    return statistics


def extracted(extract, images, batch, what="reference"):
    """Features of all images of a Folder or an Archive, a batch at a time."""
    for piece in watched(images.batches(batch), images.count, batch, what):
        yield extract(piece)


def load(path, extract, batch):
    """The Reference at a path for an Extractor; images are only read where they are needed."""
    protocol = extract.protocol
    size, _ = peek(path, protocol)
    if Path(path).is_dir():
        return _of_images(path, extract, batch)
    fields = names(path)
    if "protocol" in fields:
        return read(path, protocol, extract.weights)
    if "mu" not in fields:
        return _of_images(path, extract, batch)
    known = moments(path, protocol, UNSTATED)
    rows = _rows(path, protocol) if set(protocol.reference_rows) <= set(fields) else {}
    if not rows and "arr_0" in fields and protocol.reference_rows:
        pieces = extracted(extract, open_images(path, protocol.square), batch)
        rows["pooled"] = np.concatenate([features.pooled_ND for features in pieces])
    return Reference(Summary(UNSTATED, known, rows), size)


def _of_images(path, extract, batch):
    images = open_images(path, extract.protocol.square)
    kept = Summary.of(extract.protocol, extracted(extract, images, batch))
    rows = {part: kept.rows[part] for part in extract.protocol.reference_rows}
    return Reference(Summary(images.count, kept.moments, rows), images.size)


def read(path, protocol, weights):
    """The Reference that `save` wrote. Mistake where the network has other weights."""
    check(path, protocol)
    stated, count, size = _said(path)
    if weights and stated != weights:
        raise Mistake(
            f"{path} was made with weights of sha256 {stated[:8]}..., the network has "
            f"{weights[:8]}...; make it again, or name those weights."
        )
    known = moments(path, protocol, count)
    return Reference(Summary(count, known, _rows(path, protocol)), size)


def save(path, reference, extract):
    """Write a Reference in our own form, aside and then renamed."""
    summary, protocol = reference.summary, extract.protocol
    named = {"protocol": protocol.name, "weights": extract.weights, "count": summary.count}
    named["size"] = np.array(reference.size or (), np.int64)
    for part, (mean, cov) in MOMENTS.items():
        if part in summary.moments:
            named |= {mean: summary.moments[part].mean, cov: summary.moments[part].cov}
    named |= {part: summary.rows[part] for part in protocol.reference_rows}
    with aside(path) as part, open(part, "wb") as handle:
        np.savez(handle, **named)


def of_features(features: Features, protocol=PROTOCOLS["demo"]):
    """The Summary of features that are all there, such as a stand-in's reference."""
    statistics = {part: Statistics.of(features.part(part)) for part in protocol.moments}
    rows = {part: features.part(part) for part in protocol.reference_rows}
    return Summary(len(features.pooled_ND), statistics, rows)
