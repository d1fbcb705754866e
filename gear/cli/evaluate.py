"""`gear evaluate`: the metrics of anyone's images under a protocol (gear/metrics/protocol.py).

Besides the protocols of generated sets there are two that compare images one by one:
`reconstruction`, with the original of the same name, and `clip_score`, with a caption. All that can
be wrong with the files' form is found before the first image goes through a network. Metrics do not
depend on the batch beyond float rounding.
"""

import json
import sys

import torch

from gear.evaluation import images as sets
from gear.evaluation import networks, reference
from gear.files.mistakes import Mistake
from gear.metrics.frechet import Stream, frechet_with_bound
from gear.metrics.protocol import Summary, chosen_settings, measured, named
from gear.metrics.reconstruction import l1, psnr, ssim
from gear.runtime.device import use

CLIP_FILE = "weights/open_clip_model.safetensors"


def open_samples(path, square=None):
    """The Folder or Archive of the samples; a warning on stderr where they are lossy."""
    found = sets.open_images(path, square)
    if found.lossy:
        print(
            f"gear: warning: {path} holds JPEG files ({found.lossy}); their losses change every "
            "metric, so compare with values of PNG files or of arrays with care.",
            file=sys.stderr,
        )
    return found


def require_exact(count, wanted, path):
    """Mistake unless there are as many images as the protocol, or --images, says."""
    if wanted is not None and count != wanted:
        raise Mistake(
            f"{path} holds {count} images, the protocol needs exactly {wanted}; draw that many, or "
            f"say --images {count} and compare only with values of as many."
        )


def generated(args, device):
    """The result of a protocol of generated sets."""
    protocol = named(args.protocol)
    wanted = {} if args.images is None else {"images": args.images}
    samples = open_samples(args.samples, protocol.square)
    require_exact(samples.count, chosen_settings(protocol, wanted)["images"], args.samples)
    if args.reference is None:
        raise Mistake(
            f"protocol {protocol.name} compares with a reference; name it with --reference."
        )
    size, classes = reference.peek(args.reference, protocol)
    if size:
        sets.require_size(samples.size, size, args.samples)
    if samples.classes is not None and classes is not None:
        same = samples.classes.dtype.kind == classes.dtype.kind
        classes = sorted(set(classes.tolist())) if same else None
    classes = classes if args.classes is None else range(args.classes)
    sets.require_all_classes(samples.classes, classes, args.samples)
    extract = networks.load(protocol.name, args.weights, args.sha256, device)
    batch = networks.BATCH[device.type]
    real = reference.load(args.reference, extract, batch)
    if args.save_reference:
        reference.save(args.save_reference, real, extract)
    fake = Summary.of(protocol, reference.extracted(extract, samples, batch, "samples"))
    settings = wanted | {"images": samples.count}
    values, bounds = measured(protocol, fake, real.summary, settings)
    return {
        "images": samples.count,
        "metrics": values,
        "error_bounds": bounds,
        "settings": chosen_settings(protocol, settings),
        "weights_sha256": extract.weights,
    }


def paired(samples, originals):
    """Mistake unless two Folders hold images of the same names, their endings apart."""
    stems = [[name.rpartition(".")[0] for name in x.names] for x in (samples, originals)]
    odd = sorted(set(stems[0]) ^ set(stems[1]))
    if odd:
        raise Mistake(
            f"{odd[0]} is in one of {samples.path} and {originals.path} only; give each "
            "reconstruction and its original the same name."
        )
    sets.require_size(samples.size, originals.size, samples.path)


def reconstructed(args, device):
    """rFID, PSNR, SSIM and L1 of image files, hence rounded to 8 bits, against their originals."""
    from gear.features import inception

    samples, originals = open_samples(args.samples), None
    if args.reference is not None:
        originals = sets.open_images(args.reference)
    if not isinstance(samples, sets.Folder) or not isinstance(originals, sets.Folder):
        raise Mistake(
            "protocol reconstruction compares files by name; give folders of images as --samples "
            "and --reference."
        )
    require_exact(samples.count, args.images, args.samples)
    paired(samples, originals)
    network, sha256 = inception.load(args.weights or networks.FILES["inception"], args.sha256)
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
    means = {name: torch.cat(found).mean().item() for name, found in values.items()}
    return {
        "images": samples.count,
        "metrics": {"rfid": rfid, **means},
        "error_bounds": {"rfid": bound},
        "settings": {"rounding": "uint8"},
        "weights_sha256": sha256,
    }


def captioned(args, device):
    """The CLIP score of images and their captions."""
    from gear.features.clip import Clip
    from gear.metrics.clip_score import clip_score, read_captions

    if args.captions is None:
        raise Mistake("protocol clip_score compares with captions; name them with --captions.")
    samples = open_samples(args.samples)
    require_exact(samples.count, args.images, args.samples)
    names = samples.names if isinstance(samples, sets.Folder) else None
    captions = read_captions(args.captions, samples.count, names)
    clip = Clip(args.weights or CLIP_FILE, args.sha256, device)
    batch = networks.BATCH[device.type]
    batches = sets.watched(samples.batches(batch), samples.count, batch, "samples")
    return {
        "images": samples.count,
        "metrics": {"clip_score": clip_score(clip, batches, captions)},
        "error_bounds": {},
        "settings": {},
        "weights_sha256": clip.sha256,
    }


def main(args):
    """args: the options of `gear evaluate` (gear/cli/main.py)."""
    device = use(args.device)
    compute = {"reconstruction": reconstructed, "clip_score": captioned}
    found = compute.get(args.protocol, generated)(args, device)
    if args.json:
        print(json.dumps({"protocol": args.protocol, **found}))
        return
    said = ", ".join(f"{name} {value:.4f}" for name, value in found["metrics"].items())
    print(f"{args.samples}: {found['images']} images, protocol {args.protocol}: {said}")
