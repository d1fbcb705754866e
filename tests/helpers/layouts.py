"""Key names and shapes of the public checkpoints, by the rules that they follow.

The defaults are the published sizes; the tests write small ones. Each function gives
{key: shape} of one state; `lightning` and `gear` make a file's content of states."""

import argparse

import torch

SIZES = {  # of LlamaGen: layers, width, feed-forward width, parameters
    "s": (12, 384, 1024, 34_210_560),
    "b": (12, 768, 2048, 110_888_448),
    "l": (24, 1024, 2816, 342_910_976),
    "xl": (36, 1280, 3584, 774_699_520),
    "xxl": (48, 1536, 4096, 1_410_972_672),
    "xxxl": (48, 2560, 6912, 3_893_027_840),
}

MULTIPLIERS = (1, 1, 2, 2, 4)


def conv(name, inner, outer, size, bias=True):
    shapes = {f"{name}.weight": (outer, inner, size, size)}
    return shapes | ({f"{name}.bias": (outer,)} if bias else {})


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def residual(name, inner, outer, bias=True):
    shapes = norm(f"{name}.norm1", inner) | norm(f"{name}.norm2", outer)
    shapes |= conv(f"{name}.conv1", inner, outer, 3, bias)
    shapes |= conv(f"{name}.conv2", outer, outer, 3, bias)
    return shapes | (conv(f"{name}.nin_shortcut", inner, outer, 1, bias) if inner != outer else {})


def attention(name, width):
    shapes = norm(f"{name}.norm", width)
    for projection in ("q", "k", "v", "proj_out"):
        shapes |= conv(f"{name}.{projection}", width, width, 1)
    return shapes


def vqgan(style, channels, multipliers, blocks, z, code, codes, image):
    """VQ-16 (style llamagen) and IBQ-16 (style taming); blocks: of encoder and decoder a level."""
    llamagen = style == "llamagen"
    middle = ("mid.0", "mid.1", "mid.2") if llamagen else ("block_1", "attn_1", "block_2")
    widths, last = [channels * m for m in multipliers], len(multipliers) - 1
    shapes = {}
    for side, count, order in (("encoder", blocks[0], 1), ("decoder", blocks[1], -1)):
        down, used = side == "encoder", widths[::order]
        inner = channels if down else used[0]
        shapes |= conv(f"{side}.conv_in", *((image, inner) if down else (z, inner)), 3)
        for i, outer in enumerate(used):
            if llamagen:
                level, block = f"{side}.conv_blocks.{i}", "res"
            else:
                level, block = f"{side}.{f'down.{i}' if down else f'up.{last - i}'}", "block"
            for j in range(count):
                shapes |= residual(f"{level}.{block}.{j}", inner, outer)
                inner = outer
                if i == (last if down else 0):
                    shapes |= attention(f"{level}.attn.{j}", outer)
            if i < last:
                sampler = "downsample" if down else "upsample"
                shapes |= conv(f"{level}.{sampler}.conv", outer, outer, 3)
        for name, kind in zip(middle, "rar", strict=True):
            name = f"{side}.{name}" if llamagen else f"{side}.mid.{name}"
            width = widths[-1]
            shapes |= residual(name, width, width) if kind == "r" else attention(name, width)
        shapes |= norm(f"{side}.norm_out", used[-1])
        shapes |= conv(f"{side}.conv_out", used[-1], z if down else image, 3)
    shapes |= {"quantize.embedding.weight": (codes, code)}
    return shapes | conv("quant_conv", z, code, 1) | conv("post_quant_conv", code, z, 1)


def vq(channels=128, multipliers=MULTIPLIERS, blocks=(2, 3), z=256, code=8, codes=2**14, image=3):
    return vqgan("llamagen", channels, multipliers, blocks, z, code, codes, image)


def ibq(
    channels=128, multipliers=MULTIPLIERS, blocks=(4, 5), z=256, code=256, codes=2**14, image=3
):
    return vqgan("taming", channels, multipliers, blocks, z, code, codes, image)


def lfq(channels=128, multipliers=MULTIPLIERS, blocks=(4, 4), code=14, image=3):
    """LFQ-16. Levels are numbered from the finest, on both sides."""
    widths, last = [channels * m for m in multipliers], len(multipliers) - 1
    shapes = conv("encoder.conv_in", image, channels, 3, bias=False)
    for i, (inner, outer) in enumerate(zip([channels, *widths], widths, strict=False)):
        for j in range(blocks[0]):
            shapes |= residual(
                f"encoder.down.{i}.block.{j}", inner if j == 0 else outer, outer, False
            )
        if i < last:
            shapes |= conv(f"encoder.down.{i}.downsample", outer, outer, 3)
    for side, count in (("encoder", blocks[0]), ("decoder", blocks[1])):
        for j in range(count):
            shapes |= residual(f"{side}.mid_block.{j}", widths[-1], widths[-1], False)
    shapes |= norm("encoder.norm_out", widths[-1]) | conv("encoder.conv_out", widths[-1], code, 1)
    shapes |= conv("decoder.conv_in", code, widths[-1], 3)
    for i, outer in enumerate(widths):
        inner = widths[min(i + 1, last)]
        for j in range(blocks[1]):
            shapes |= residual(
                f"decoder.up.{i}.block.{j}", inner if j == 0 else outer, outer, False
            )
        if i > 0:
            shapes |= conv(f"decoder.up.{i}.upsample.conv1", outer, 4 * outer, 3)
        for leaf in ("gamma", "beta"):
            name = f"decoder.adaptive.{i}.{leaf}"
            shapes |= {f"{name}.weight": (inner, code), f"{name}.bias": (inner,)}
    return (
        shapes | norm("decoder.norm_out", widths[0]) | conv("decoder.conv_out", widths[0], image, 3)
    )


def llamagen(layers=12, dim=768, hidden=2048, codes=2**14, classes=1000):
    shapes = {"cls_embedding.embedding_table.weight": (classes + 1, dim)}
    shapes |= {"tok_embeddings.weight": (codes, dim)}
    for i in range(layers):
        at = f"layers.{i}"
        shapes |= {f"{at}.attention.wqkv.weight": (3 * dim, dim)}
        shapes |= {f"{at}.attention.wo.weight": (dim, dim)}
        shapes |= {f"{at}.feed_forward.{w}.weight": (hidden, dim) for w in ("w1", "w3")}
        shapes |= {f"{at}.feed_forward.w2.weight": (dim, hidden)}
        shapes |= {f"{at}.{n}.weight": (dim,) for n in ("attention_norm", "ffn_norm")}
    return shapes | {"norm.weight": (dim,), "output.weight": (codes, dim)}


def llamagen_text(layers=36, dim=1440, hidden=3840, codes=2**14, width=2048):
    """Text to image: a caption's MLP for the table of classes, and a text stream in the first third
    of the layers."""
    shapes = llamagen(layers, dim, hidden, codes)
    del shapes["cls_embedding.embedding_table.weight"]
    for fc, inner in (("fc1", width), ("fc2", dim)):
        shapes |= {f"cls_embedding.cap_proj.{fc}.weight": (dim, inner)}
    for i in range(max(1, round(layers / 3))):
        at = f"layers.{i}"
        shapes |= {f"{at}.attention.wqkv_text.weight": (3 * dim, dim)}
        shapes |= {f"{at}.attention.wo_text.weight": (dim, dim)}
        shapes |= {f"{at}.attention_norm_text.weight": (dim,)}
    return shapes


def patchgan(width=64, layers=3, image=3):
    shapes = conv("main.0", image, width, 4)
    inner = width
    for i in range(1, layers + 1):
        outer = width * min(2**i, 8)
        shapes |= conv(f"main.{3 * i - 1}", inner, outer, 4, bias=False)
        batch_norm = f"main.{3 * i}"
        shapes |= norm(batch_norm, outer) | {f"{batch_norm}.num_batches_tracked": ()}
        shapes |= {f"{batch_norm}.running_{m}": (outer,) for m in ("mean", "var")}
        inner = outer
    return shapes | conv(f"main.{3 * layers + 2}", inner, 1, 4)


def projectors(dim=1024, hidden=2048, target=768):
    widths = (dim, hidden, hidden, target)
    shapes = {}
    for i in range(3):
        shapes[f"projs.0.{2 * i}.weight"] = (widths[i + 1], widths[i])
        shapes[f"projs.0.{2 * i}.bias"] = (widths[i + 1],)
    return shapes


# ---- states and files ------------------------------------------------------------------------


def random(shapes, seed=0):
    """A state with random numbers, scaled by its fan-in so that activations stay near 1."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
            continue
        x = torch.randn(shape, generator=generator)
        fan = x[0].numel() if x.ndim > 1 and "embedding" not in key else 1
        x = x / fan**0.5
        if key.endswith("running_var"):
            x = x.abs() + 0.5
        elif x.ndim == 1:
            x = 0.1 * x + float(key.endswith("weight"))
        state[key] = x
    return state


def lightning(live, average=None):
    """A Lightning file's content: helpers beside the weights, and an average without dots."""
    state = dict(live)
    state |= {"loss.discriminator.main.0.weight": torch.zeros(2), "loss.logvar": torch.zeros(())}
    state |= {"loss.perceptual_loss.lin0.model.1.weight": torch.zeros(1), "lpips.a": torch.ones(1)}
    if average:
        state |= {f"model_ema.{key.replace('.', '')}": value for key, value in average.items()}
        state |= {"model_ema.decay": torch.tensor(0.9999)}
        state |= {"model_ema.num_updates": torch.tensor(3, dtype=torch.int32)}
        state |= {"model_ema.lossdiscriminatormain0weight": torch.zeros(2)}
    return {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": state,
        "callbacks": {"ModelCheckpoint": {"best_k_models": {}, "best_model_path": ""}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}],
    }


def gear(**parts):
    """A published GEAR checkpoint's content, with its arguments and an optimizer."""
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
    args = argparse.Namespace(exp_name="gear-l", encoder_depth=8, betas=(0.9, 0.999), seed=None)
    return parts | {"opt_vq": optimizer, "sched_vq": {"last_epoch": 1}, "args": args, "steps": 9}
