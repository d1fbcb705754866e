"""What a checkpoint does with the validation images: reconstruction, codebook use, likelihood.

The images come in pieces, because fifty thousand of them, their reconstructions and their scores do
not fit in memory; only features, tokens and one number an image are kept.
"""

import torch
import torch.nn.functional as F

from gear.alignment.loss import alignment_loss
from gear.alignment.projector import projector
from gear.data.memory import to_float, to_uint8
from gear.data.sets import piece_of
from gear.files.mistakes import Mistake
from gear.metrics.frechet import Stream, frechet_distance
from gear.metrics.reconstruction import l1, psnr, ssim
from gear.runtime import checkpoint
from gear.runtime.device import autocast
from gear.sampling.conditions import Labels
from gear.t2i.load import load_ar
from gear.tokenizer.codebook import SoftAssignment, usage_stats

PER_IMAGE = {"psnr": psnr, "ssim": ssim, "l1": l1}
RECONSTRUCTION = ("rfid", "psnr", "ssim", "l1")
LIKELIHOOD = ("ntp", "align")
ROUNDINGS = ("none", "uint8")  # of what rFID sees: none, as published
CODEBOOK = ("usage", "usage_entropy", "perplexity", "entropy", "effective_size", "top1", "top10")
CODEBOOK += ("top100", "top1000", "entropy_t1")


@torch.no_grad()
def reconstruct(tokenizer, images_uint8):
    """(reconstructions in [-1, 1] (N, C, H, W), unclamped, tokens (N, T), their Assignment)."""
    assignment = tokenizer.quantizer.assignment(tokenizer.encode(to_float(images_uint8)))
    tokens = assignment.hard()
    return tokenizer.decode(tokens), tokens, assignment


def owns_tokenizer(folder):
    """Whether a checkpoint holds the tokenizer that it trained, so that none is frozen."""
    return checkpoint.holds(f"{folder}/weights.safetensors", "tokenizer")


def in_unit(decoded):
    """A decoder's images in [0, 1], clamped: what is scored."""
    return (decoded.float() / 2 + 0.5).clamp(0, 1)


def through(tokenizer, settings, data, pooled, rounding):
    """(reconstruction metrics, codebook statistics, tokens (N, T)) of all images.

    rFID is of `pooled`'s features against the same images, of reconstructions that are rounded to
    8 bits or not (ROUNDINGS); PSNR, SSIM, L1 in [0, 1], never rounded."""
    device = next(tokenizer.parameters()).device
    tokens, streams, values = [], (Stream(), Stream()), {name: [] for name in PER_IMAGE}
    soft = SoftAssignment(settings.joint.temperature)
    for images, _ in data.pieces(piece_of(settings)):
        images = images.to(device)
        decoded, indices, assignment = reconstruct(tokenizer, images)
        recon = in_unit(decoded)
        tokens.append(indices.cpu())
        soft.add(assignment)
        truth = images.float() / 255
        for name, f in PER_IMAGE.items():
            values[name].append(f(recon, truth).cpu())
        shown = to_uint8(recon * 2 - 1) if rounding == "uint8" else recon
        for stream, pixels in zip(streams, (shown, images), strict=True):
            stream.add(pooled(pixels))
    rfid = frechet_distance(*(stream.finish() for stream in streams))
    tokens = torch.cat(tokens)
    metrics = {name: torch.cat(v).mean().item() for name, v in values.items()}
    usage = usage_stats(tokens, settings.tokenizer.codebook_size)
    codebook = {k: v.item() for k, v in (usage | soft.means()).items()}
    return {"rfid": rfid, **metrics}, codebook, tokens


@torch.no_grad()
def likelihood(folder, tokenizer, data, teacher, tokens=None, conditions_of=None):
    """Mean NTP loss in nats per token and mean alignment loss, of averaged weights.

    tokens: (N, T) of all images, made in float32, if they are known. Where the training made its
    tokens in bfloat16, they are made so here too: the AR has seen no others. conditions_of: a
    function of the AR that returns the conditions of all images (gear/sampling/conditions.py);
    default: their labels."""
    ar, settings = load_ar(folder)
    precision = settings.runtime.token_precision(frozen=not owns_tokenizer(folder))
    device = next(tokenizer.parameters()).device
    project = projector(settings.ar.dim, settings.align.projector_dim, teacher.width)
    checkpoint.load_weights(f"{folder}/weights.safetensors", "projector", project)
    for network in (ar, project, teacher):
        network.to(device)
    conditions = conditions_of(ar) if conditions_of else Labels(ar, data.labels.numpy())
    ntp, align, done = 0.0, 0.0, 0
    for images, _ in data.pieces(piece_of(settings)):
        end = done + len(images)
        prefix, images = conditions.prefix(done, end), to_float(images.to(device))
        if tokens is not None and precision == "fp32":
            part = tokens[done:end].to(device)
        else:
            with autocast(device, precision):
                part = tokenizer.tokens(images)
        logits, tap = ar(ar.embedding(part[:, :-1]), prefix, tap=settings.align.layer)
        share, done = len(images) / len(data), end
        ntp += share * F.cross_entropy(logits.flatten(0, 1), part.flatten()).item()
        align += share * alignment_loss(project(tap), teacher(images)).item()
    return {"ntp": ntp, "align": align}


def rounding_of(protocol, kind):
    """How a validation protocol rounds what rFID sees, on features of a kind (standin | inception).

    Mistake: a protocol of another kind, an unknown rounding."""
    name, rounding = protocol["name"], protocol.get("rounding", "none")
    if (name == "demo") != (kind == "standin"):
        raise Mistake(
            f"validation protocol {name} is not computed on {kind} features; set "
            "protocols.validation.name to demo for a stand-in, to reconstruction for Inception."
        )
    if rounding not in ROUNDINGS:
        raise Mistake(f"rounding is '{rounding}'; it is {' or '.join(ROUNDINGS)}.")
    return "uint8" if kind == "standin" else rounding


def validate(folder, tokenizer, settings, data, protocol, scorer, teacher=None):
    """The metrics of one checkpoint on a validation set; `likelihood` where a teacher is given.

    Those of the tokenizer are among them where the checkpoint holds it. A tokenizer that was frozen
    has them beside its own checkpoint. scorer: gear.evaluation.score.Scorer, whose feature network
    rFID is computed on."""
    rounding = rounding_of(protocol, scorer.kind)
    if protocol.get("images") not in (None, len(data)):
        raise Mistake(
            f"{settings.data.path}/val holds {len(data)} images, protocol "
            f"validation needs {protocol['images']}; set protocols.validation.images in the study."
        )
    if owns_tokenizer(folder):
        metrics, codebook, tokens = through(tokenizer, settings, data, scorer.pooled, rounding)
        found = {protocol["name"]: metrics, "codebook": codebook}
    else:
        found, tokens = {}, None
    if teacher is not None:
        found["likelihood"] = likelihood(folder, tokenizer, data, teacher, tokens)
    return found


def nothing(folder, protocol):
    """The metrics of the checkpoint of a run that diverged."""
    found = {"likelihood": dict.fromkeys(LIKELIHOOD)}
    if owns_tokenizer(folder):
        found |= {protocol["name"]: dict.fromkeys(RECONSTRUCTION)}
        found |= {"codebook": dict.fromkeys(CODEBOOK)}
    return found
