"""What a checkpoint does with the validation images: reconstruction, codebook use, likelihood.

The images come in pieces, because fifty thousand of them, their reconstructions and their scores do
not fit in memory; only features, tokens and one number an image are kept.
"""

import numpy as np
import torch
import torch.nn.functional as F

from gear.alignment.loss import alignment_loss
from gear.alignment.projector import projector
from gear.analysis.codebook import SoftAssignment, usage_stats
from gear.data.memory import to_float, to_uint8
from gear.metrics.frechet import Statistics, frechet_distance
from gear.metrics.reconstruction import l1, psnr, ssim
from gear.runtime import checkpoint
from gear.sampling.generate import load_ar

PER_IMAGE = {"psnr": psnr, "ssim": ssim, "l1": l1}
RECONSTRUCTION = ("rfid", "psnr", "ssim", "l1")
ROWS = 4096  # tokens of a piece: 256 MiB of scores at K = 16384
CODEBOOK = ("usage", "usage_entropy", "perplexity", "entropy", "effective_size", "top1", "top10")


def piece_of(settings):
    """Images of a piece."""
    patch = 2 ** (len(settings.tokenizer.multipliers) - 1)
    return max(1, ROWS // (settings.data.resolution // patch) ** 2)


@torch.no_grad()
def reconstruct(tokenizer, images_uint8):
    """(reconstructions in [0, 1] (N, C, H, W), tokens (N, T), scores (N T, K))."""
    scores = tokenizer.quantizer.scores(tokenizer.encode(to_float(images_uint8)))
    tokens = scores.argmax(-1)
    images = (tokenizer.decode(tokens) / 2 + 0.5).clamp(0, 1)
    return images, tokens, scores.flatten(0, 1)


def through(tokenizer, settings, data, extract):
    """(reconstruction metrics, codebook statistics, tokens (N, T)) of all images.

    rFID is of `extract`'s pooled features against the same images; PSNR, SSIM, L1 in [0, 1]."""
    tokens, features, values = [], ([], []), {name: [] for name in PER_IMAGE}
    soft = SoftAssignment(settings.joint.temperature)
    for images, _ in data.pieces(piece_of(settings)):
        recon, found, scores = reconstruct(tokenizer, images)
        tokens.append(found)
        soft.add(scores)
        truth = images.float() / 255
        for name, f in PER_IMAGE.items():
            values[name].append(f(recon, truth))
        for part, shown in zip(features, (to_uint8(recon * 2 - 1), images), strict=True):
            part.append(extract(shown).pooled_ND)
    rfid = frechet_distance(*(Statistics.of(np.concatenate(part)) for part in features))
    tokens = torch.cat(tokens)
    metrics = {name: torch.cat(v).mean().item() for name, v in values.items()}
    usage = usage_stats(tokens, settings.tokenizer.codebook_size)
    codebook = {k: v.item() for k, v in (usage | soft.means()).items()}
    return {"rfid": rfid, **metrics}, codebook, tokens


@torch.no_grad()
def likelihood(folder, tokens, data, teacher):
    """Mean NTP loss in nats per token and mean alignment loss, of averaged weights."""
    ar, settings = load_ar(folder)
    project = projector(settings.ar.dim, settings.align.projector_dim, teacher.width)
    checkpoint.load_weights(f"{folder}/weights.safetensors", "projector", project)
    ntp, align = 0.0, 0.0
    piece, done = piece_of(settings), 0
    for images, _ in data.pieces(piece):
        part, labels = tokens[done : done + piece], data.labels[done : done + piece]
        done += piece
        logits, tap = ar(ar.embedding(part[:, :-1]), labels, tap=settings.align.layer)
        share = len(part) / len(tokens)
        ntp += share * F.cross_entropy(logits.flatten(0, 1), part.flatten()).item()
        target = teacher(to_float(images))
        align += share * alignment_loss(project(tap), target).item()
    return {"ntp": ntp, "align": align}


def validate(folder, tokenizer, settings, data, protocol, extract, teacher=None):
    """The metrics of one checkpoint on a validation set; `likelihood` where a teacher is given."""
    if len(data) != protocol["images"]:
        raise ValueError(
            f"{settings.data.path}/val holds {len(data)} images, protocol "
            f"validation needs {protocol['images']}; set protocols.validation.images in the study."
        )
    metrics, codebook, tokens = through(tokenizer, settings, data, extract)
    found = {protocol["name"]: metrics, "codebook": codebook}
    if teacher is not None:
        found["likelihood"] = likelihood(folder, tokens, data, teacher)
    return found


def nothing(protocol):
    """The metrics of a run that diverged."""
    return {
        protocol["name"]: dict.fromkeys(RECONSTRUCTION),
        "codebook": dict.fromkeys(CODEBOOK),
        "likelihood": dict.fromkeys(("ntp", "align")),
    }
