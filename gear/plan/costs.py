"""What a training step of each stage costs, as so many forward passes of its networks.

Backward to the inputs costs as much as forward, backward to the weights as much again. Hence
3 x forward for what is trained, 2 x for a constant network that gradients pass through, 1 x for
what only looks on. Left out, because they hold no matrix product: losses, norms, optimizers, EMA.

The parts are those of the trainers: gear/tokenizer/train.py, gear/joint/train.py, gear/ar/train.py.
"""

from gear.plan import pieces, teachers
from gear.study.stages import STAGES


def of_tokenizer(settings):
    """{part: {piece: times}} of the tokenizer's and the discriminator's updates."""
    parts = {"tokenizer": {"tokenizer": 3}}
    if settings.loss.lpips:  # of the image, of the reconstruction, and back to the latter
        parts["lpips"] = {"vgg16": 3}
    if settings.loss.gan:
        parts["gan"] = {"discriminator": 2}  # of the reconstruction, and back to it
        parts["discriminator"] = {"discriminator": 6}  # 3 x of the image, 3 x of the reconstruction
    return parts


def of_guidance(joint):
    """{piece: times} of what the AR sends to the tokenizer, which leaves the AR as it is."""
    aligned, ntp = "align" in joint.tokenizer_losses, "ntp" in joint.tokenizer_losses
    if not ntp:
        return {"readout": 2, "ar_to_tap": 2, "projector": 2} if aligned else {}
    through_input = joint.ntp_path in ("input", "both")
    back = {"ar": 1} if through_input else {"ar_to_tap": 1} if aligned else {}
    forward = {"ar": 1 if through_input else 2}  # the target's path reads detached input once more
    times = {name: forward.get(name, 0) + back.get(name, 0) for name in (*forward, *back)}
    return {"readout": 1 + bool(back), **times, "projector": 1 + aligned}


def parts_of(run):
    """{part: {piece: times}} of one optimizer step of a run, per image."""
    settings, stage = run.settings, STAGES[run.stage]
    parts = {"teacher": {"teacher": 1}} if stage.aligns else {}
    parts |= of_tokenizer(settings) if stage.owns_tokenizer else {"tokens": {"encode": 1}}
    if stage.owns_tokenizer and stage.has_ar:
        guidance = of_guidance(settings.joint)
        parts |= {"guidance": guidance} if guidance else {}
    return parts | ({"ar": {"ar": 3, "projector": 3}} if stage.has_ar else {})


def networks_of(run, study):
    """{name: Piece} of the networks that take part in a run's step."""
    settings, stage = run.settings, STAGES[run.stage]
    data, loss = settings.data, settings.loss
    found = {"tokenizer": pieces.tokenizer(settings.tokenizer, data.channels, data.resolution)}
    if stage.owns_tokenizer and loss.gan:
        found["discriminator"] = pieces.discriminator(
            data.channels, data.resolution, loss.disc_channels, loss.disc_layers
        )
    if stage.owns_tokenizer and loss.lpips:
        found["vgg16"] = pieces.vgg16(data.resolution)
    if stage.aligns:
        align, codes = settings.align, settings.tokenizer.codebook_size
        patch = settings.tokenizer.downsampling
        side = data.resolution // patch
        teacher = teachers.teacher(study.spec["teachers"][align.teacher], data, patch)
        found["ar"] = pieces.ar(settings.ar, codes, data.classes, side, align.layer)
        found["projector"] = pieces.project(
            settings.ar.dim, align.projector_dim, teacher.width, side * side
        )
        found["teacher"] = teacher
    return found


def cost(run, study):
    """One run: parameters by part, FLOPs of an image by part and what they are made of."""
    networks, trains = networks_of(run, study), STAGES[run.stage].trains
    counted = {}
    for network in networks.values():
        counted |= network.flops
    parts = parts_of(run)
    flops = {
        part: sum(times * counted[piece] for piece, times in made.items())
        for part, made in parts.items()
    }
    used = {piece for made in parts.values() for piece in made}
    trained = {k: v.parameters for k, v in networks.items() if k in trains}
    frozen = {k: v.parameters for k, v in networks.items() if k not in trains}
    return {
        "parameters": {"trained": sum(trained.values()), **trained, "frozen": frozen},
        "flops_per_image": sum(flops.values()),
        "parts": flops,
        "made_of": {
            part: " + ".join(f"{times} x {piece}" for piece, times in made.items())
            for part, made in parts.items()
        },
        "forward": {piece: counted[piece] for piece in counted if piece in used},
    }
