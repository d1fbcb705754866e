"""FLOPs of a training step of each stage, as a sum of forward passes of its networks.

The backward pass to the inputs costs as much as the forward pass. The backward pass to the weights
costs as much again. So a trained network counts 3 x forward, a frozen network that gradients pass
through 2 x, and a network without gradients 1 x. Losses, norms, optimizers and EMA are left out,
because they have no matrix product.

The parts are those of the trainers: gear/tokenizer/train.py, gear/joint/train.py, gear/ar/train.py.
"""

from gear.files.mistakes import Mistake
from gear.plan import counts
from gear.study.stages import STAGES

# {width of the features: layers, heads, heads of keys and values, width of a head, width of the
# SwiGLU layer, entries of the vocabulary} of text encoders that are not trained here
ENCODERS = {2048: (28, 16, 8, 128, 6144, 151936)}  # Qwen3-1.7B


def of_tokenizer(settings):
    """{part: {piece: times}} of the tokenizer's and the discriminator's updates."""
    parts = {"tokenizer": {"tokenizer": 3}}
    if settings.loss.lpips:  # image, reconstruction, and backward to the reconstruction
        parts["lpips"] = {"vgg16": 3}
    if settings.loss.gan:
        parts["gan"] = {"discriminator": 2}  # reconstruction, and backward to it
        parts["discriminator"] = {"discriminator": 6}  # 3 x image, 3 x reconstruction
    return parts


def of_guidance(joint):
    """{piece: times} of the losses through the AR that train the tokenizer only."""
    aligned, ntp = "align" in joint.tokenizer_losses, "ntp" in joint.tokenizer_losses
    if not ntp:
        return {"readout": 2, "ar_to_tap": 2, "projector": 2} if aligned else {}
    if joint.ntp_path in ("input", "both"):
        forward, back = {"ar": 1}, {"ar": 1}
    else:  # the path through the targets reads the detached input in a second forward pass
        forward, back = {"ar": 2}, {"ar_to_tap": 1} if aligned else {}
    times = {name: forward.get(name, 0) + back.get(name, 0) for name in (*forward, *back)}
    return {"readout": 1 + bool(back), **times, "projector": 1 + aligned}


def parts_of(run):
    """{part: {piece: times}} of one optimizer step of a run, per image."""
    settings, stage = run.settings, STAGES[run.stage]
    parts = {"teacher": {"teacher": 1}} if stage.aligns else {}
    parts |= {"text": {"text_encoder": 1}} if settings.reads_text else {}
    parts |= of_tokenizer(settings) if stage.owns_tokenizer else {"tokens": {"encode": 1}}
    if stage.owns_tokenizer and stage.has_ar:
        guidance = of_guidance(settings.joint)
        parts |= {"guidance": guidance} if guidance else {}
    return parts | ({"ar": {"ar": 3, "projector": 3}} if stage.has_ar else {})


def teacher(spec, data, patch, piece=counts.piece):
    """The Piece of a teacher.

    spec: a study's teachers.<name>; data: gear.config.Data; patch: pixels of a token's side."""
    if spec["kind"] == "pretrained":
        return piece("pretrained", spec["network"], data.resolution)
    shape = (data.channels, data.resolution, data.classes, patch)
    return piece("standin", spec["objective"], *shape, spec["dim"], spec["layers"])


def text_encoder(spec, text, piece=counts.piece):
    """The Piece of a text encoder. Mistake: its size is not known.

    spec: a study's text_encoder; text: gear.config.Text."""
    if spec["kind"] == "standin":
        width, heads = text.width, spec["heads"]
        shape = (spec["layers"], heads, max(1, heads // 2), width // heads, 3 * width)
        return piece("text_encoder", width, *shape, spec["vocabulary"], text.slots)
    if text.width not in ENCODERS:
        raise Mistake(
            f"the size of {spec['label']} with text.width {text.width} is not known, which costs "
            "and disk need; add it to ENCODERS in gear/plan/costs.py. Trainings do not need it."
        )
    return piece("text_encoder", text.width, *ENCODERS[text.width], text.slots)


def networks_of(run, study, piece=counts.piece):
    """{name: Piece} of the networks that take part in a run's step.

    piece: the function that finds or counts a network."""
    settings, stage = run.settings, STAGES[run.stage]
    data, loss = settings.data, settings.loss
    networks = {"tokenizer": piece("tokenizer", settings.tokenizer, data.channels, data.resolution)}
    if stage.owns_tokenizer and loss.gan:
        networks["discriminator"] = piece(
            "discriminator", data.channels, data.resolution, loss.disc_channels, loss.disc_layers
        )
    if stage.owns_tokenizer and loss.lpips:
        networks["vgg16"] = piece("vgg16", data.resolution)
    if stage.aligns:
        align, codes = settings.align, settings.tokenizer.codebook_size
        patch = settings.tokenizer.downsampling
        side = data.resolution // patch
        aligned = teacher(study.spec["teachers"][align.teacher], data, patch, piece)
        if settings.reads_text:
            text = settings.text
            networks["ar"] = piece("text_ar", settings.ar, codes, text, side, align.layer)
            networks["text_encoder"] = text_encoder(study.spec["text_encoder"], text, piece)
        else:
            networks["ar"] = piece("ar", settings.ar, codes, data.classes, side, align.layer)
        networks["projector"] = piece(
            "project", settings.ar.dim, align.projector_dim, aligned.width, side * side
        )
        networks["teacher"] = aligned
    return networks


def cost(run, study):
    """One run's parameters by part, FLOPs of an image by part, and their forward passes.

    study: registry.Study. Keys: parameters, flops_per_image, parts, made_of, forward."""
    networks, trains = networks_of(run, study), STAGES[run.stage].trains
    counted = {}
    for network in networks.values():
        counted |= network.flops
    parts = parts_of(run)
    flops = {
        part: sum(times * counted[piece] for piece, times in passes.items())
        for part, passes in parts.items()
    }
    used = {piece for passes in parts.values() for piece in passes}
    trained = {k: v.parameters for k, v in networks.items() if k in trains}
    frozen = {k: v.parameters for k, v in networks.items() if k not in trains}
    return {
        "parameters": {"trained": sum(trained.values()), **trained, "frozen": frozen},
        "flops_per_image": sum(flops.values()),
        "parts": flops,
        "made_of": {
            part: " + ".join(f"{times} x {piece}" for piece, times in passes.items())
            for part, passes in parts.items()
        },
        "forward": {piece: counted[piece] for piece in counted if piece in used},
    }
