"""The names of our networks' tensors in the public files.

Each function returns {our key: keys in the file}. No tensor is transposed or permuted. Where one of
our tensors has two keys, the two tensors of the file are concatenated along dimension 0:

- AR: `gate_up` is w1 (which goes through SiLU) over w3. `qkv` is `wqkv` unchanged: query, key and
  value in this order, and within each of them one head after the other.
- A tokenizer's codebook is `quantize.embedding.weight`. VQ normalises it at each use. Open-MAGVIT2
  has no codebook tensor, because its codes are signs.
"""

from dataclasses import dataclass

from gear.files.mistakes import Mistake
from gear.t2i.transformer import two_streams


@dataclass(frozen=True)
class Style:
    """Names in one public VQGAN: i counts levels in the order of use, n from the finest level."""

    down: str  # a level of the encoder
    up: str  # a level of the decoder
    residual: str  # a residual block of a level
    middle: tuple[str, str, str]


LLAMAGEN = Style("conv_blocks.{i}", "conv_blocks.{i}", "res", ("mid.0", "mid.1", "mid.2"))
TAMING = Style("down.{i}", "up.{n}", "block", ("mid.block_1", "mid.attn_1", "mid.block_2"))


def _residual(ours, theirs):
    modules = ("norm1", "conv1", "norm2", "conv2")
    names = {f"{ours}.{m}": f"{theirs}.{m}" for m in modules}
    return names | {f"{ours}.skip": f"{theirs}.nin_shortcut"}


def _attention(ours, theirs):
    return {f"{ours}.{m}": f"{theirs}.{m}" for m in ("norm", "q", "k", "v")} | {
        f"{ours}.out": f"{theirs}.proj_out"
    }


def _resample(ours, theirs):
    return {f"{ours}.conv": f"{theirs}.conv"}


def _plain(ours, theirs):
    return {ours: theirs}


def _nothing(ours, theirs):
    return {}


def _vqgan_side(config, style, side):
    """{our module: theirs} of the encoder or decoder; ours are numbered in the order of use."""
    encoder, last = side == "encoder", len(config.multipliers) - 1
    levels = []
    for i in range(last + 1):
        level = (style.down if encoder else style.up).format(i=i, n=last - i)
        for j in range(config.encoder_blocks if encoder else config.decoder_blocks):
            levels.append((_residual, f"{level}.{style.residual}.{j}"))
            if i == (last if encoder else 0):
                levels.append((_attention, f"{level}.attn.{j}"))
        if i < last:
            levels.append((_resample, f"{level}.{'downsample' if encoder else 'upsample'}"))
    middle = list(zip((_residual, _attention, _residual), style.middle, strict=True))
    body = levels + middle if encoder else middle + levels
    end = [(_plain, "norm_out"), (_nothing, "swish"), (_plain, "conv_out")]
    names = {}
    for number, (kind, theirs) in enumerate([(_plain, "conv_in"), *body, *end]):
        names |= kind(f"{side}.{number}", f"{side}.{theirs}")
    return names


def _vqgan(config, style):
    names = _vqgan_side(config, style, "encoder") | _vqgan_side(config, style, "decoder")
    return names | {m: m for m in ("quant_conv", "post_quant_conv")}


def _magvit2(config):
    """{our module: theirs}; our levels count in the order of use, theirs from the finest level."""
    last, names = len(config.multipliers) - 1, {}
    for side, blocks in (("encoder", config.encoder_blocks), ("decoder", config.decoder_blocks)):
        for m in ("conv_in", "norm_out", "conv_out"):
            names[f"{side}.{m}"] = f"{side}.{m}"
        for j in range(blocks):
            names |= _residual(f"{side}.middle.{j}", f"{side}.mid_block.{j}")
        for i in range(last + 1):
            level = f"down.{i}" if side == "encoder" else f"up.{last - i}"
            for j in range(blocks):
                names |= _residual(f"{side}.levels.{i}.{j}", f"{side}.{level}.block.{j}")
    for i in range(last + 1):
        names[f"encoder.down.{i}"] = f"encoder.down.{i}.downsample"
        names[f"decoder.up.{i}.conv"] = f"decoder.up.{last - i}.upsample.conv1"
        names[f"decoder.adaptive.{i}.scale"] = f"decoder.adaptive.{last - i}.gamma"
        names[f"decoder.adaptive.{i}.shift"] = f"decoder.adaptive.{last - i}.beta"
    return names


def tokenizer(config, ours):
    """{our key: keys in the file} of a tokenizer.

    config: gear.config.Tokenizer; ours: our keys. Mistake: no public layout can hold it."""
    kind = (config.quantizer, config.network)
    if kind == ("lfq", "magvit2") and config.z_channels == config.code_dim:
        names = _magvit2(config)
    elif kind in (("vq", "vqgan"), ("ibq", "vqgan")) and config.attention:
        names = _vqgan(config, LLAMAGEN if config.quantizer == "vq" else TAMING)
    else:
        raise Mistake(
            f"no public layout holds a tokenizer with tokenizer.quantizer {config.quantizer}, "
            f"tokenizer.network {config.network} and tokenizer.attention {config.attention}; "
            "VQ-16, LFQ-16 and IBQ-16 have one."
        )
    mapping = {}
    for key in ours:
        module, _, leaf = key.rpartition(".")
        codebook = key == "quantizer.codebook"
        mapping[key] = ("quantize.embedding.weight" if codebook else f"{names[module]}.{leaf}",)
    return mapping


BLOCK = {
    "attention_norm": ("attention_norm",),
    "qkv": ("attention.wqkv",),
    "attention_out": ("attention.wo",),
    "mlp_norm": ("ffn_norm",),
    "gate_up": ("feed_forward.w1", "feed_forward.w3"),
    "down": ("feed_forward.w2",),
}
TEXT = {  # what a block with two streams has besides
    "text_norm": ("attention_norm_text",),
    "text_qkv": ("attention.wqkv_text",),
    "text_out": ("attention.wo_text",),
}


def _transformer(condition, blocks):
    """condition: the mapping of its tensors; blocks: for each block its modules."""
    mapping = condition | {
        "embedding.weight": ("tok_embeddings.weight",),
        "norm.weight": ("norm.weight",),
        "head.weight": ("output.weight",),
    }
    for i, block in enumerate(blocks):
        for ours, theirs in block.items():
            mapping[f"blocks.{i}.{ours}.weight"] = tuple(f"layers.{i}.{t}.weight" for t in theirs)
    return mapping


def ar(layers):
    """{our key: keys in the file} of a class-conditional AR (LlamaGen)."""
    condition = {"condition.weight": ("cls_embedding.embedding_table.weight",)}
    return _transformer(condition, [BLOCK] * layers)


def text_ar(layers):
    """{our key: keys in the file} of a text-to-image AR (LlamaGen with text)."""
    condition = {
        f"condition.{fc}.weight": (f"cls_embedding.cap_proj.{fc}.weight",) for fc in ("fc1", "fc2")
    }
    two = two_streams(layers)
    return _transformer(condition, [BLOCK | TEXT] * two + [BLOCK] * (layers - two))


def discriminator(ours):
    return {key: (f"main.{key}",) for key in ours}


def projector(ours):
    return {key: (f"projs.0.{key}",) for key in ours}
