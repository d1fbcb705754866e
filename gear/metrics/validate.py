"""What a checkpoint does with the validation images: reconstruction, codebook use, likelihood."""

import torch
import torch.nn.functional as F

from gear.alignment.loss import alignment_loss
from gear.alignment.projector import projector
from gear.analysis.codebook import soft_assignment_stats, usage_stats
from gear.data.memory import to_float, to_uint8
from gear.metrics.frechet import Statistics, frechet_distance
from gear.metrics.reconstruction import l1, psnr, ssim
from gear.runtime import checkpoint
from gear.sampling.generate import load_ar

PER_IMAGE = {"psnr": psnr, "ssim": ssim, "l1": l1}
RECONSTRUCTION = ("rfid", "psnr", "ssim", "l1")
CODEBOOK = ("usage", "usage_entropy", "perplexity", "entropy", "effective_size", "top1", "top10")


@torch.no_grad()
def reconstruct(tokenizer, images_uint8, batch=256):
    """(reconstructions in [0, 1] (N, C, H, W), tokens (N, T), scores (N T, K))."""
    parts = [[], [], []]
    for x in images_uint8.split(batch):
        scores = tokenizer.quantizer.scores(tokenizer.encode(to_float(x)))
        tokens = scores.argmax(-1)
        images = (tokenizer.decode(tokens) / 2 + 0.5).clamp(0, 1)
        for part, value in zip(parts, (images, tokens, scores.flatten(0, 1)), strict=True):
            part.append(value)
    return tuple(torch.cat(part) for part in parts)


def reconstruction_metrics(images_uint8, recon, extract):
    """rFID of `extract`'s pooled features against the same images, PSNR, SSIM, L1 in [0, 1]."""
    truth = images_uint8.float() / 255
    found = Statistics.of(extract(to_uint8(recon * 2 - 1)).pooled_ND)
    known = Statistics.of(extract(images_uint8).pooled_ND)
    values = {name: f(recon, truth).mean().item() for name, f in PER_IMAGE.items()}
    return {"rfid": frechet_distance(found, known), **values}


@torch.no_grad()
def likelihood(folder, tokens, data, teacher, batch=256):
    """Mean NTP loss in nats per token and mean alignment loss, of averaged weights."""
    ar, settings = load_ar(folder)
    project = projector(settings.ar.dim, settings.align.projector_dim, teacher.std.numel())
    checkpoint.load_weights(f"{folder}/weights.safetensors", "projector", project)
    ntp, align = 0.0, 0.0
    for i in range(0, len(tokens), batch):
        part, labels = tokens[i : i + batch], data.labels[i : i + batch]
        logits, tap = ar(ar.embedding(part[:, :-1]), labels, tap=settings.align.layer)
        share = len(part) / len(tokens)
        ntp += share * F.cross_entropy(logits.flatten(0, 1), part.flatten()).item()
        target = teacher(to_float(data.images[i : i + batch]))
        align += share * alignment_loss(project(tap), target).item()
    return {"ntp": ntp, "align": align}


def validate(folder, tokenizer, settings, data, protocol, extract, teacher=None):
    """The metrics of one checkpoint on a validation ImageSet; `likelihood` where a teacher is
    given."""
    if len(data.images) != protocol["images"]:
        raise ValueError(
            f"{settings.data.path}/val holds {len(data.images)} images, protocol "
            f"validation needs {protocol['images']}; set protocols.validation.images in the study."
        )
    recon, tokens, scores = reconstruct(tokenizer, data.images)
    codebook = usage_stats(tokens, settings.tokenizer.codebook_size)
    codebook |= soft_assignment_stats(scores, settings.joint.temperature)
    found = {
        protocol["name"]: reconstruction_metrics(data.images, recon, extract),
        "codebook": {k: v.item() for k, v in codebook.items()},
    }
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
