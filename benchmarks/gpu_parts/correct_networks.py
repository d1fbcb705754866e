"""Networks with random weights on the device against the same networks on the CPU."""

from unittest import mock

import numpy as np
import torch

from benchmarks.gpu_parts import text, workload
from benchmarks.gpu_parts.clock import relative_error
from benchmarks.gpu_parts.compare import TOLERANCE, compared, modes, of_network, run
from benchmarks.gpu_parts.report import row
from gear.ar.condition import Prefix
from gear.ar.transformer import Block, Cache, Transformer, rotary_table
from gear.runtime import rng
from gear.sampling.generate import Drawer, Sampler, draw
from gear.t2i.transformer import TextBlock
from gear.tokenizer.autoencoder import Tokenizer

CPU = torch.device("cpu")
STILL = {"ar__dropout": 0.0, "ar__token_dropout": 0.0, "ar__label_dropout": 0.0}


# ---- transformer ---------------------------------------------------------------------------------


def block_cases(context):
    """One transformer block over a whole sequence."""
    settings = workload.small(context.tiny, **STILL).ar
    side = 4 if context.tiny else 16
    rope = rotary_table(side, settings.dim // settings.heads, 1, "identity")
    x = torch.randn(2, side * side + 1, settings.dim)

    def forward(block, x):
        return block(x, rope.to(x.device))

    return of_network(
        context,
        "transformer block",
        Block(settings),
        lambda m: [m],
        forward,
        [x],
        convolutions=False,
    )


def text_block_cases(context):
    """One block with two streams, over captions of several lengths and a whole sequence."""
    settings = workload.of_stage("t2i", context.tiny, **STILL)
    slots, dim = settings.text.slots, settings.ar.dim
    side = 4 if context.tiny else 16
    rope = rotary_table(side, dim // settings.ar.heads, slots, "identity")
    lengths = torch.tensor([len(caption) for caption in text.captions(settings, 3)])
    prefix = Prefix(torch.empty(3, slots, 0), torch.arange(slots) < lengths[:, None])
    mask, x = prefix.mask(side * side), torch.randn(3, slots + side * side, dim)

    def forward(block, x):
        return block(x, rope.to(x.device), mask.to(x.device), None, slots)

    return of_network(
        context,
        "transformer block with text",
        TextBlock(settings.ar),
        lambda m: [m],
        forward,
        [x],
        convolutions=False,
        compiles=False,
    )


def block_with_cache(context):
    """The same block, a position at a time, against the whole sequence on the CPU."""
    settings = workload.small(context.tiny, **STILL).ar
    side, head_dim = 4 if context.tiny else 16, settings.dim // settings.heads
    rope = rotary_table(side, head_dim, 1, "identity")
    block, x = Block(settings), torch.randn(2, side * side + 1, settings.dim)
    with torch.no_grad():
        wanted = block(x, rope)
        block, rope, x = block.to(context.device), rope.to(context.device), x.to(context.device)
        cache = Cache(2, settings.heads, x.shape[1], head_dim, torch.float32, context.device)
        places = range(x.shape[1])
        found = [block(x[:, t : t + 1], rope[t : t + 1], None, cache) for t in places]
    return compared(
        "transformer block, cache", {"states": torch.cat(found, 1)}, {"states": wanted}, 1e-4
    )


def drawing(context, guidance):
    """Greedy drawing with the cache against the argmax of the full forward pass, on the device."""
    settings = workload.small(context.tiny, **STILL)
    K, classes, side = settings.tokenizer.codebook_size, 10, 4 if context.tiny else 8
    ar = Transformer(settings.ar, K, classes, side)
    torch.nn.init.normal_(ar.head.weight, 0.0, 0.5)
    ar = ar.eval().requires_grad_(False).to(context.device)
    prefix, null = ar.condition(torch.arange(4, device=context.device)), ar.condition.null(4)
    return greedy(f"greedy drawing, guidance {guidance}", ar, prefix, null, guidance)


def text_drawing(context, guidance):
    """The same from captions of several lengths; the null is the empty caption."""
    settings = workload.of_stage("t2i", context.tiny, **STILL)
    ar = text.random_ar(settings, context.device, 0.5)
    prefix, null = text.prefixes(ar, settings, 4)
    return greedy(f"greedy drawing from captions, guidance {guidance}", ar, prefix, null, guidance)


def greedy(name, ar, prefix, null, guidance):
    sampler = Sampler(images=4, guidance=guidance, top_k=1)
    tokens = draw(ar, prefix, np.arange(4), sampler, null)
    unrecorded = Drawer(ar, sampler, fixed=False)(prefix, np.arange(4), null)
    logits, _ = ar(ar.embedding(tokens[:, :-1]), prefix)
    if guidance != 1.0:
        uncond, _ = ar(ar.embedding(tokens[:, :-1]), null)
        logits = uncond + guidance * (logits - uncond)
    best = logits.max(-1).values
    drawn = logits.gather(-1, tokens[..., None])[..., 0]
    same = (logits.argmax(-1) == tokens).float().mean().item()
    # a token that differs must be one that ties within rounding
    gap = ((best - drawn) / logits.std()).max().item()
    loops = (unrecorded == tokens).float().mean().item()
    return row(name, ok=gap < 1e-4, tokens_equal=same, loops_equal=loops, largest_gap=gap)


# ---- tokenizer and a whole step ------------------------------------------------------------------


def tokenizer_cases(context):
    """Encoder and decoder, without the quantizer between them, which would jump."""
    settings = workload.small(context.tiny)
    tokenizer = Tokenizer(settings.tokenizer, settings.data.channels)
    images = workload.batch(settings, 2).images

    def forward(tokenizer, x):
        z = tokenizer.encode(x)
        return z, tokenizer.decode_codes(z)

    return of_network(
        context,
        "encoder and decoder",
        tokenizer,
        lambda m: m.blocks(),
        forward,
        [images],
        # on a CPU the toy's gradients are 0.06 to 0.12 away, in 30 draws of weights and images
        tolerances={"bf16": 0.2},
        convolutions=True,
        compiles=False,
    )


def whole_step(context, stage, mode, kept):
    """The metrics of one whole step of a stage without dropout, gradient norms among them."""
    runtime = {
        "runtime__precision": "bf16" if mode == "bf16" else "fp32",
        "runtime__tf32": mode == "tf32",
        "runtime__log_every": 1,
    }
    runtime |= {f"runtime__{m}": mode == m for m in ("channels_last", "compile", "recompute")}
    plain = {"runtime__precision": "fp32", "runtime__log_every": 1}
    plain = workload.of_stage(stage, context.tiny, **STILL, **plain)
    if not kept:
        reference = workload.trainer(stage, plain, CPU, workload.small_teacher(plain, context.tiny))
        kept["state"] = reference
        first = workload.trainer(stage, plain, CPU, workload.small_teacher(plain, context.tiny))
        workload.same_weights(first, reference)
        rng.seed_torch(0, "step")
        kept["metrics"] = first.step(workload.batch(plain), 1)
    settings = workload.of_stage(stage, context.tiny, **STILL, **runtime)
    teacher = workload.small_teacher(settings, context.tiny)
    trainer = workload.trainer(stage, settings, context.device, teacher, tune=False)
    workload.same_weights(trainer, kept["state"])
    trainer.tune()
    rng.seed_torch(0, "step")
    found = trainer.step(workload.batch(settings), 1)
    names = sorted(kept["metrics"])
    wanted = {name: kept["metrics"][name] for name in names}
    # A feature halfway between two codes may take the other one, and some means are near zero.
    tolerance = {"bf16": 0.2, "tf32": 0.05}.get(mode, 2e-3)
    return compared(f"{stage} step, {mode}", found, wanted, tolerance)


def step_cases(context):
    kept = {"joint": {}, "t2i": {}}
    return {
        f"{stage} step, {mode}": lambda s=stage, m=mode: whole_step(context, s, m, kept[s])
        for stage in kept
        for mode in modes(context, convolutions=True, compiles=False)
    }


# ---- teachers and feature networks ---------------------------------------------------------------


def teacher(context, name, precision):
    """A teacher's features of random images."""
    resolution = 256  # SigLIP2 reads no other of these
    shape = workload.TEACHER["tiny"] if context.tiny else None
    network = workload.random_teacher(name, resolution, shape)
    images = torch.rand(2, 3, resolution, resolution) * 2 - 1
    with torch.no_grad():
        wanted = network(images)
        network, images = network.to(context.device), images.to(context.device)
        low = precision == "bf16"
        with torch.autocast(context.device.type, torch.bfloat16, enabled=low):
            found = network(images)
    found, wanted = {"features": found}, {"features": wanted}
    return compared(f"teacher {name}, {precision}", found, wanted, TOLERANCE[precision])


def feature_error(name, network, function, images, context):
    """A feature network on the device against itself on the CPU."""
    wanted = function(network, images).pooled_ND
    found = function(network.to(context.device), images.to(context.device)).pooled_ND
    error = relative_error(torch.from_numpy(found), torch.from_numpy(wanted))
    return row(f"features {name}", ok=error < 1e-3, error=error, tolerance=1e-3)


def inception(context, way):
    from gear.features import inception as module

    try:
        import cleanfid  # noqa: F401
    except ImportError:
        return row(f"features inception, {way}", note="left out: clean-fid is not installed")
    torch.manual_seed(5)
    network = module.Inception().eval().requires_grad_(False)
    for norm in network.modules():  # as in trained weights: signals keep their size
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_var.uniform_(0.7, 1.3)
    images = torch.randint(256, (1 if context.tiny else 8, 3, 64, 64), dtype=torch.uint8)
    return feature_error(f"inception, {way}", network, getattr(module, way), images, context)


def dinov2(context):
    from gear.features import dinov2 as module

    shape = workload.TEACHER["tiny"] if context.tiny else module.DINOv2L.SHAPE
    state = module.DINOv2L.build(518, **shape).state_dict()
    network = module.Encoder(state, shape).eval().requires_grad_(False)
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    return feature_error("dinov2", network, module.features, images, context)


def clip(context):
    """CLIP's image and text vectors; weights are random, through our own class."""
    from gear.features import clip as module

    try:
        import open_clip
    except ImportError:
        return row("features CLIP", note="left out: open_clip is not installed")
    shape = open_clip.get_model_config(module.ARCHITECTURE)
    if context.tiny:
        shape["vision_cfg"] |= {"width": 64, "layers": 1}
        shape["text_cfg"] |= {"width": 64, "heads": 1, "layers": 1}
    network = open_clip.CLIP(**shape)
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    words, vectors = ["a bold seven", "a thin nine"], []
    for device in (CPU, context.device):
        with (
            mock.patch.object(module, "verified", return_value="random"),
            mock.patch.object(
                module,
                "load_strictly",
                lambda _, mine, *__: mine.load_state_dict(network.state_dict()),
            ),
        ):
            mine = module.Clip("random", device=device, shape=shape)
        vectors.append(torch.cat([mine.images(images), mine.captions(words)]))
    wanted, found = ({"vectors": x} for x in vectors)
    return compared("features CLIP", found, wanted, 1e-3)


def lpips(context):
    """LPIPS and its gradient to the reconstruction, from a file through our own loader."""
    if not workload.lpips_is_here():
        return row("LPIPS", note="left out: lpips is not installed")
    network, side = workload.loaded_lpips(), 32 if context.tiny else 128
    x, y = torch.rand(2, 2, 3, side, side) * 2 - 1
    wanted = run(network, lambda m, x: m(x, y), [x], CPU)
    mine, y = network.to(context.device), y.to(context.device)
    found = run(mine, lambda m, x: m(x, y), [x], context.device)
    return compared("LPIPS", found, wanted, 1e-3)


def cases(context):
    found = block_cases(context) | text_block_cases(context)
    found["transformer block, cache"] = lambda: block_with_cache(context)
    for guidance in (1.0, 1.5):
        found[f"greedy drawing, guidance {guidance}"] = lambda g=guidance: drawing(context, g)
        key = f"greedy drawing from captions, guidance {guidance}"
        found[key] = lambda g=guidance: text_drawing(context, g)
    for name in workload.PAPER["teachers"]:
        for precision in ("float32", "bf16"):
            key = f"teacher {name}, {precision}"
            found[key] = lambda n=name, p=precision: teacher(context, n, p)
    # one way is enough to see that the script is in order
    for way in ("clean",) if context.tiny else ("adm", "clean", "pytorch_fid"):
        found[f"features inception, {way}"] = lambda w=way: inception(context, w)
    found["features dinov2"] = lambda: dinov2(context)
    found["features CLIP"] = lambda: clip(context)
    found["LPIPS"] = lambda: lpips(context)
    return found | tokenizer_cases(context) | step_cases(context)
