"""`gear.evaluate`: the metrics of anyone's images under a protocol (gear/metrics/protocol.py).

Besides the protocols of generated sets there are two that compare images one by one:
`reconstruction`, with the original of the same name, and `clip_score`, with a caption. All that can
be wrong with the files' form is found before the first image goes through a network. Metrics do not
depend on the batch beyond float rounding.
"""

import os
import sys
from dataclasses import dataclass

import torch

from gear.data import finding
from gear.evaluation import images as sets
from gear.evaluation import networks, notes, reference
from gear.files.mistakes import Mistake, did_you_mean
from gear.files.outputs import require_free
from gear.metrics import PROTOCOLS
from gear.metrics.frechet import Stream, frechet_with_bound
from gear.metrics.protocol import Summary, chosen_settings, measured, named
from gear.metrics.reconstruction import l1, psnr, ssim
from gear.runtime.device import use

CLIP_FILE = "weights/open_clip_model.safetensors"


@dataclass(frozen=True)
class Options:
    """See `evaluate`."""

    weights: str | None = None
    sha256: str | None = None
    images: int | None = None
    classes: int | None = None
    captions: str | None = None
    save_reference: str | None = None

    def __post_init__(self):
        for name in ("images", "classes"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise Mistake(f"`{name}` is {value!r}; it must be a whole number from 1.")


def evaluate(
    samples,
    reference=None,
    *,
    protocol,
    weights=None,
    sha256=None,
    images=None,
    classes=None,
    captions=None,
    save_reference=None,
    force=False,
    device=None,
):
    """{'protocol', 'images': N, 'metrics', 'error_bounds', 'settings', 'weights_sha256', 'notes'}
    of images: what `gear evaluate --json` prints. notes: what does not fit (gear.evaluation.notes).

    samples: a folder of image files, an .npz as ADM's (arr_0, uint8 (N, H, W, 3)), or uint8
        images (N, 3, H, W) as an array or a tensor
    reference: an .npz of the protocol, or a folder of images; clip_score needs none
    protocol: adm | clean | fdd | coco | reconstruction | clip_score
    device: cuda | cpu; default: cuda where there is one

    weights: local file of the feature network; default: the one in weights/. sha256: that it has,
    where it is not the publisher's. images: the exact number of samples; default: the protocol's.
    classes: how many must be there, where samples have labels. captions: for clip_score, a file of
    lines or a .json {file: caption}. save_reference: write the reference's statistics to this .npz;
    force: also where it is there already.
    Mistake: whatever does not fit."""
    if protocol not in PROTOCOLS:
        raise Mistake(f"there is no protocol '{protocol}'. {did_you_mean(protocol, PROTOCOLS)}")
    options = Options(weights, sha256, images, classes, captions, save_reference)
    read = [p for p in (samples, reference, weights, captions) if isinstance(p, str | os.PathLike)]
    if not all(str(path).strip() for path in read):
        raise Mistake("a path is empty; name the file or the folder.")
    require_free({"save_reference": save_reference}, force, read)
    compute = {"reconstruction": reconstructed, "clip_score": captioned}.get(protocol)
    common = samples, reference, options, use(device)
    result = compute(*common) if compute else generated(named(protocol), *common)
    return {"protocol": protocol, **result}


def open_samples(source, square=None):
    """The images of the samples; a warning on stderr where they are lossy."""
    samples = sets.open_images(source, square)
    finding.warn(samples.path, samples.left_out)
    if samples.lossy:
        print(
            f"gear: warning: {samples.path} holds JPEG files ({samples.lossy}); their losses "
            "change every metric, so compare with values of PNG files or of arrays with care.",
            file=sys.stderr,
        )
    return samples


def require_exact(samples, wanted):
    """Mistake unless there are as many images as the protocol, or `images`, says."""
    if wanted is not None and samples.count != wanted:
        raise Mistake(
            f"{samples.path} holds {samples.count} images{_besides(samples)}, the protocol needs "
            f"exactly {wanted}; draw that many, or say `images` {samples.count} and compare only "
            "with values of as many."
        )


def _besides(samples):
    """' (10 .heic are not read)' where that is why there are too few."""
    return f" ({finding.said(samples.left_out)} are not read)" if samples.left_out else ""


def generated(protocol, source, real_source, options, device):
    """The result of a protocol of generated sets."""
    wanted = {} if options.images is None else {"images": options.images}
    samples = open_samples(source, protocol.square)
    require_exact(samples, chosen_settings(protocol, wanted)["images"])
    if real_source is None:
        raise Mistake(
            f"protocol {protocol.name} compares with a reference; name it with `reference`."
        )
    reference.require_neighbours(samples, protocol)
    size, classes = reference.peek(real_source, protocol)
    if size:
        sets.require_size(samples.size, size, samples.path)
    sets.require_all_classes(samples, classes, options.classes)
    extract = networks.load(protocol.name, options.weights, options.sha256, device)
    batch = networks.BATCH[device.type]
    real = reference.load(real_source, extract, batch)
    if options.save_reference:
        reference.save(options.save_reference, real, extract)
    fake = Summary.of(protocol, reference.extracted(extract, samples, batch, "samples"))
    settings = wanted | {"images": samples.count}
    values, bounds = measured(protocol, fake, real.summary, settings)
    return {
        "images": samples.count,
        "metrics": values,
        "error_bounds": bounds,
        "settings": chosen_settings(protocol, settings),
        "weights_sha256": extract.weights,
        "notes": [
            *notes.of_reconstructions(samples, real_source),
            *notes.of_counts(protocol, samples.count, real.summary),
            *notes.of_sizes({samples.size}, real.size),
        ],
    }


def paired(samples, originals):
    """Bring the originals into the order of the samples' names, their endings apart.

    Mistake unless the two Folders hold images of the same names."""
    ours, theirs = map(_by_stem, (samples, originals))
    odd = sorted(ours.keys() ^ theirs.keys())
    if odd:
        raise Mistake(
            f"{odd[0]} is in one of {samples.path} and {originals.path} only; give each "
            "reconstruction and its original the same name."
        )
    originals.names = [theirs[stem] for stem in ours]
    sets.require_size(samples.size, originals.size, samples.path)


def _by_stem(folder):
    """{name without its ending: name} of a Folder. Mistake: two files share a name."""
    names = {}
    for name in folder.names:
        other = names.setdefault(name.rpartition(".")[0], name)
        if other != name:
            raise Mistake(
                f"{folder.path} holds {other} and {name}, of which only one can be compared; "
                "rename or remove one."
            )
    return names


def reconstructed(source, original_source, options, device):
    """rFID, PSNR, SSIM and L1 of image files, hence rounded to 8 bits, against their originals."""
    from gear.features import inception

    samples, originals = open_samples(source), None
    if original_source is not None:
        originals = sets.open_images(original_source)
        finding.warn(originals.path, originals.left_out)
    if not isinstance(samples, sets.Folder) or not isinstance(originals, sets.Folder):
        raise Mistake(
            "protocol reconstruction compares files by name; give folders of images as `samples` "
            "and `reference`."
        )
    require_exact(samples, options.images)
    paired(samples, originals)
    network, sha256 = inception.load(options.weights or networks.FILES["inception"], options.sha256)
    network, batch = network.to(device), networks.BATCH[device.type]
    streams = Stream(), Stream()
    values = {"psnr": [], "ssim": [], "l1": []}
    pairs = zip(samples.batches(batch), originals.batches(batch), strict=True)
    for pair in sets.watched(pairs, samples.count, batch, "pairs"):
        for stream, pictures in zip(streams, pair, strict=True):
            stream.add(inception.pytorch_fid(network, pictures).pooled_ND)
        shown = [pictures.to(device).float() / 255 for pictures in pair]
        for name, metric in (("psnr", psnr), ("ssim", ssim), ("l1", l1)):
            values[name].append(metric(*shown).cpu())
    rfid, bound = frechet_with_bound(*(stream.finish() for stream in streams))
    means = {name: torch.cat(batches).mean().item() for name, batches in values.items()}
    return {
        "images": samples.count,
        "metrics": {"rfid": rfid, **means},
        "error_bounds": {"rfid": bound},
        "settings": {"rounding": "uint8"},
        "weights_sha256": sha256,
        "notes": [],
    }


def captioned(source, _reference, options, device):
    """The CLIP score of images and their captions."""
    from gear.features.clip import Clip
    from gear.metrics.clip_score import clip_score, read_captions

    if options.captions is None:
        raise Mistake("protocol clip_score compares with captions; name them with `captions`.")
    samples = open_samples(source)
    require_exact(samples, options.images)
    names = samples.names if isinstance(samples, sets.Folder) else None
    captions = read_captions(options.captions, samples.count, names)
    clip = Clip(options.weights or CLIP_FILE, options.sha256, device)
    batch = networks.BATCH[device.type]
    batches = sets.watched(samples.batches(batch), samples.count, batch, "samples")
    return {
        "images": samples.count,
        "metrics": {"clip_score": clip_score(clip, batches, captions)},
        "error_bounds": {},
        "settings": {},
        "weights_sha256": clip.sha256,
        "notes": [],
    }
