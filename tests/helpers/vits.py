"""Public vision encoders for the tests of the teachers: files with their key names and random
numbers, and a plain forward on those keys."""

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from gear.alignment.teachers import pretrained

DIM, DEPTH, HEADS, MLP = 32, 2, 2, 128
SHAPE = {"embed_dim": DIM, "depth": DEPTH, "num_heads": HEADS}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


# ---- public layouts, with random numbers ---------------------------------------------------------


def linear(key, outer, inner):
    return {f"{key}.weight": (outer, inner), f"{key}.bias": (outer,)}


def norm(key):
    return {f"{key}.weight": (DIM,), f"{key}.bias": (DIM,)}


def dino_blocks(scale="ls{}.gamma", qkv_bias=True):
    shapes = {}
    for b in (f"blocks.{i}" for i in range(DEPTH)):
        shapes |= norm(f"{b}.norm1") | norm(f"{b}.norm2")
        shapes |= linear(f"{b}.attn.qkv", 3 * DIM, DIM) | linear(f"{b}.attn.proj", DIM, DIM)
        shapes |= linear(f"{b}.mlp.fc1", MLP, DIM) | linear(f"{b}.mlp.fc2", DIM, MLP)
        if scale:
            shapes |= {f"{b}.{scale.format(n)}": (DIM,) for n in (1, 2)}
        if not qkv_bias:
            del shapes[f"{b}.attn.qkv.bias"]
    return shapes


def patches(key, side, bias=True):
    shapes = {f"{key}.weight": (DIM, 3, side, side), f"{key}.bias": (DIM,)}
    return shapes if bias else {f"{key}.weight": shapes[f"{key}.weight"]}


def dinov2(facebook=True):
    token = {"mask_token": (1, DIM)} if facebook else {}
    start = {"cls_token": (1, 1, DIM), "pos_embed": (1, 1 + 37**2, DIM)} | token
    return start | patches("patch_embed.proj", 14) | dino_blocks() | norm("norm")


def dinov3_facebook():
    shapes = {"cls_token": (1, 1, DIM), "storage_tokens": (1, 4, DIM), "mask_token": (1, DIM)}
    shapes |= {"rope_embed.periods": (DIM // HEADS // 4,)}
    shapes |= {f"blocks.{i}.attn.qkv.bias_mask": (3 * DIM,) for i in range(DEPTH)}
    return shapes | patches("patch_embed.proj", 16) | dino_blocks() | norm("norm")


def dinov3_timm():
    shapes = {"cls_token": (1, 1, DIM), "reg_token": (1, 4, DIM)} | patches("patch_embed.proj", 16)
    return shapes | dino_blocks("gamma_{}", qkv_bias=False) | norm("norm")


def siglip2_transformers(tokens=256):
    v = "vision_model"
    shapes = {f"{v}.embeddings.position_embedding.weight": (tokens, DIM)}
    shapes |= patches(f"{v}.embeddings.patch_embedding", 16)
    for layer in (f"{v}.encoder.layers.{i}" for i in range(DEPTH)):
        shapes |= norm(f"{layer}.layer_norm1") | norm(f"{layer}.layer_norm2")
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"{layer}.self_attn.{name}", DIM, DIM)
        shapes |= linear(f"{layer}.mlp.fc1", MLP, DIM) | linear(f"{layer}.mlp.fc2", DIM, MLP)
    shapes |= norm(f"{v}.post_layernorm") | {f"{v}.head.probe": (1, 1, DIM)}
    rest = {"text_model.final_layer_norm.bias": (DIM,), "logit_scale": (1,), "logit_bias": (1,)}
    return shapes | rest


def siglip2_timm(prefix=""):
    shapes = {"pos_embed": (1, 256, DIM), "attn_pool.latent": (1, 1, DIM)}
    shapes |= patches("patch_embed.proj", 16) | dino_blocks(scale=None) | norm("norm")
    return {prefix + k: v for k, v in shapes.items()}


def siglip2_open_clip():
    return siglip2_timm("visual.trunk.") | {"text.ln_final.bias": (DIM,), "logit_scale": ()}


def clip_l():
    shapes = {"visual.class_embedding": (DIM,), "visual.positional_embedding": (257, DIM)}
    shapes |= patches("visual.conv1", 14, bias=False) | norm("visual.ln_pre")
    for b in (f"visual.transformer.resblocks.{i}" for i in range(DEPTH)):
        shapes |= norm(f"{b}.ln_1") | norm(f"{b}.ln_2")
        shapes |= {f"{b}.attn.in_proj_weight": (3 * DIM, DIM), f"{b}.attn.in_proj_bias": (3 * DIM,)}
        shapes |= linear(f"{b}.attn.out_proj", DIM, DIM)
        shapes |= linear(f"{b}.mlp.c_fc", MLP, DIM) | linear(f"{b}.mlp.c_proj", DIM, MLP)
    shapes |= norm("visual.ln_post") | {"visual.proj": (DIM, 7), "positional_embedding": (77, 9)}
    rest = {"transformer.resblocks.0.ln_1.bias": (9,), "text_projection": (9, 7), "logit_scale": ()}
    return shapes | rest


def vjepa2(dim=DIM, depth=DEPTH, prefix="module.backbone."):
    """All tensors of the encoder, those that an image does not touch among them."""
    shapes = {"img_mod_embed": (1, 1, dim), "video_mod_embed": (1, 1, dim)}
    for name, frames in (("patch_embed", 2), ("patch_embed_img", 1)):
        shapes |= {f"{name}.proj.weight": (dim, 3, frames, 16, 16), f"{name}.proj.bias": (dim,)}
    for b in (f"blocks.{i}" for i in range(depth)):
        shapes |= linear(f"{b}.attn.qkv", 3 * dim, dim) | linear(f"{b}.attn.proj", dim, dim)
        shapes |= linear(f"{b}.mlp.fc1", 4 * dim, dim) | linear(f"{b}.mlp.fc2", dim, 4 * dim)
        shapes |= {f"{b}.norm{n}.{kind}": (dim,) for n in (1, 2) for kind in ("weight", "bias")}
    shapes |= {f"norms_block.{n}.{kind}": (dim,) for n in range(4) for kind in ("weight", "bias")}
    return {prefix + k: v for k, v in shapes.items()}


def random_state(shapes):
    """Numbers of the size that trained weights have, so that every layer matters."""
    state = {k: torch.randn(s) / math.sqrt(math.prod(s[1:]) or 1) for k, s in shapes.items()}
    for key, value in state.items():
        if value.ndim == 1 and "weight" in key:
            state[key] = 0.7 + 0.6 * torch.rand_like(value)
        if key.endswith("bias_mask"):
            state[key] = torch.ones(3, DIM).index_fill(0, torch.tensor(1), 0.0).flatten()
        if key.endswith("periods"):
            state[key] = (100 ** (torch.arange(len(value)) / len(value))).bfloat16()
    return state


FILES = {  # file name -> (network, shapes)
    "dinov2_facebook.pth": ("dinov2", dinov2()),
    "dinov2_timm.safetensors": ("dinov2", dinov2(facebook=False)),
    "dinov3_facebook.pth": ("dinov3", dinov3_facebook()),
    "dinov3_timm.safetensors": ("dinov3", dinov3_timm()),
    "siglip2_transformers.safetensors": ("siglip2", siglip2_transformers()),
    "siglip2_open_clip.safetensors": ("siglip2", siglip2_open_clip()),
    "siglip2_timm.safetensors": ("siglip2", siglip2_timm()),
    "clip_l.pt": ("clip_l", clip_l()),
    "vjepa2.pt": ("vjepa2", vjepa2()),
}


def write(path, state):
    """The public file of a state; V-JEPA's is one entry of it."""
    if any(str(key).startswith("module.backbone.") for key in state):
        state = {"ema_encoder": state}
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def spec(path, network="dinov2", **more):
    return {
        "kind": "pretrained",
        "label": "the teacher",
        "network": network,
        "weights": str(path),
        **more,
    }


# ---- the same features, plainly ------------------------------------------------------------------


def layer_norm(x, state, key, eps):
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return scaled * state[f"{key}.weight"] + state[f"{key}.bias"]


def affine(x, state, key):
    return x @ state[f"{key}.weight"].T + state.get(f"{key}.bias", torch.zeros(()))


def heads_of(x):
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def attend(q, k, v, turn=None):
    q, k, v = heads_of(q), heads_of(k), heads_of(v)
    if turn is not None:
        q, k = turn(q), turn(k)
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def tanh_gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


def dino_block(x, state, b, eps, turn=None, scale=("ls1.gamma", "ls2.gamma"), act=gelu):
    first, second = (state[f"{b}.{s}"] if scale else 1.0 for s in scale or (0, 0))
    qkv = affine(layer_norm(x, state, f"{b}.norm1", eps), state, f"{b}.attn.qkv")
    x = x + first * affine(attend(*qkv.chunk(3, -1), turn), state, f"{b}.attn.proj")
    h = act(affine(layer_norm(x, state, f"{b}.norm2", eps), state, f"{b}.mlp.fc1"))
    return x + second * affine(h, state, f"{b}.mlp.fc2")


def pixels(x, normalise, size=None):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in normalise)
    x = ((x + 1) / 2 - mean) / std
    if size is None:
        return x
    return F.interpolate(x, (size, size), mode="bicubic", antialias=False)


def patch_tokens(x, weight, bias=None):
    """Raster order, as a product per patch: (B, N, DIM)."""
    side = weight.shape[-1]
    cut = x.unfold(2, side, side).unfold(3, side, side)  # B, 3, h, w, side, side
    cut = cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    found = cut @ weight.flatten(1).T
    return found if bias is None else found + bias


def zscore(z):
    mean = z.sum(1, keepdim=True) / z.shape[1]
    std = ((z - mean).square().sum(1, keepdim=True) / (z.shape[1] - 1)).sqrt()
    return (z - 0.6 * mean) / (std + 1e-6)


def plain_dinov2(state, x, resolution):
    side = resolution // 16
    x = pixels(x, IMAGENET, 14 * side)
    x = patch_tokens(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"])
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], 1)
    first, grid = state["pos_embed"][:, :1], state["pos_embed"][:, 1:].mT.unflatten(-1, (37, 37))
    grid = F.interpolate(grid, (side, side), mode="bicubic", antialias=True)
    x = x + torch.cat([first, grid.flatten(2).mT], 1)
    for i in range(DEPTH):
        x = dino_block(x, state, f"blocks.{i}", 1e-6)
    return layer_norm(x, state, "norm", 1e-6)[:, 1:]


def rotation(side, periods):
    """Turns channel pairs (i, i + half) of the patches' queries and keys, rows before columns."""
    at = (torch.arange(side) + 0.5) / side * 2 - 1
    rows, columns = at.repeat_interleave(side), at.repeat(side)
    angles = [2 * math.pi * p[:, None] / periods.float() for p in (rows, columns)]
    angles = torch.cat(angles, -1)

    def turn(x):
        prefix, x = x[:, :, :5], x[:, :, 5:]
        a, b = x.chunk(2, -1)
        turned = [a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()]
        return torch.cat([prefix, torch.cat(turned, -1)], 2)

    return turn


def plain_dinov3(state, x, resolution):
    facebook = "storage_tokens" in state
    registers = state["storage_tokens" if facebook else "reg_token"]
    count = DIM // HEADS // 4
    periods = (100 ** (torch.arange(count) / count)).bfloat16()  # rounded, as facebook's
    turn = rotation(resolution // 16, state.get("rope_embed.periods", periods))
    scale = ("ls1.gamma", "ls2.gamma") if facebook else ("gamma_1", "gamma_2")
    state = dict(state)
    for b in (f"blocks.{i}.attn.qkv" for i in range(DEPTH)):
        if facebook:
            state[f"{b}.bias"] = state[f"{b}.bias"] * state[f"{b}.bias_mask"]
    x = pixels(x, IMAGENET)
    x = patch_tokens(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"])
    prefix = torch.cat([state["cls_token"], registers], 1).expand(len(x), -1, -1)
    x = torch.cat([prefix, x], 1)
    for i in range(DEPTH):
        x = dino_block(x, state, f"blocks.{i}", 1e-5, turn, scale)
    return layer_norm(x, state, "norm", 1e-5)[:, 5:]


def plain_siglip2_timm(state, x, resolution):
    state = {k.removeprefix("visual.trunk."): v for k, v in state.items()}
    x = pixels(x, HALF)
    x = patch_tokens(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"])
    x = x + state["pos_embed"]
    for i in range(DEPTH):
        x = dino_block(x, state, f"blocks.{i}", 1e-6, scale=None, act=tanh_gelu)
    return zscore(layer_norm(x, state, "norm", 1e-6))


def plain_siglip2(state, x, resolution):
    if "vision_model.post_layernorm.bias" not in state:
        return plain_siglip2_timm(state, x, resolution)
    v = "vision_model.embeddings"
    embed = (state[f"{v}.patch_embedding.weight"], state[f"{v}.patch_embedding.bias"])
    x = patch_tokens(pixels(x, HALF), *embed) + state[f"{v}.position_embedding.weight"]
    for i in range(DEPTH):
        layer = f"vision_model.encoder.layers.{i}"
        h = layer_norm(x, state, f"{layer}.layer_norm1", 1e-6)
        q, k, v = (affine(h, state, f"{layer}.self_attn.{n}_proj") for n in "qkv")
        x = x + affine(attend(q, k, v), state, f"{layer}.self_attn.out_proj")
        h = layer_norm(x, state, f"{layer}.layer_norm2", 1e-6)
        h = tanh_gelu(affine(h, state, f"{layer}.mlp.fc1"))
        x = x + affine(h, state, f"{layer}.mlp.fc2")
    return zscore(layer_norm(x, state, "vision_model.post_layernorm", 1e-6))


def plain_clip_l(state, x, resolution):
    x = F.interpolate((x + 1) / 2, (224, 224), mode="bicubic")  # resized first, then normalised
    x = patch_tokens(pixels(x * 2 - 1, CLIP), state["visual.conv1.weight"])
    x = torch.cat([state["visual.class_embedding"].expand(len(x), 1, -1), x], 1)
    x = layer_norm(x + state["visual.positional_embedding"], state, "visual.ln_pre", 1e-5)
    for i in range(DEPTH):
        b = f"visual.transformer.resblocks.{i}"
        own = {"w.weight": state[f"{b}.attn.in_proj_weight"]}
        own |= {"w.bias": state[f"{b}.attn.in_proj_bias"]}
        qkv = affine(layer_norm(x, state, f"{b}.ln_1", 1e-5), own, "w")
        x = x + affine(attend(*qkv.chunk(3, -1)), state, f"{b}.attn.out_proj")
        h = quick_gelu(affine(layer_norm(x, state, f"{b}.ln_2", 1e-5), state, f"{b}.mlp.c_fc"))
        x = x + affine(h, state, f"{b}.mlp.c_proj")
    return zscore(x[:, 1:])


def plain_vjepa2(state, x, resolution):
    """Of each pair of adjacent channels, as complex numbers: axis by axis, frame, row, column."""
    state = {k.removeprefix("module.backbone."): v for k, v in state.items()}
    side, pairs = resolution // 16, DIM // HEADS // 3 // 2
    at = torch.arange(side) * 15 / (side - 1)
    frame, rows, columns = torch.zeros(side**2), at.repeat_interleave(side), at.repeat(side)
    omega = torch.tensor([10000 ** (-f / pairs) for f in range(pairs)])
    angles = torch.cat([p[:, None] * omega for p in (frame, rows, columns)], 1)
    turns = torch.polar(torch.ones_like(angles), angles)

    def turn(x):
        pairs_of = torch.view_as_complex(x[..., : 2 * turns.shape[1]].unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs_of * turns).flatten(-2)
        return torch.cat([turned, x[..., turned.shape[-1] :]], -1)

    weight, bias = (state[f"patch_embed_img.proj.{kind}"] for kind in ("weight", "bias"))
    x = patch_tokens(pixels(x, IMAGENET), weight[:, :, 0], bias) + state["img_mod_embed"]
    for i in range(DEPTH):
        x = dino_block(x, state, f"blocks.{i}", 1e-6, turn, scale=None)
    return zscore(layer_norm(x, state, "norms_block.3", 1e-6))


PLAIN = {
    "dinov2": plain_dinov2,
    "dinov3": plain_dinov3,
    "siglip2": plain_siglip2,
    "clip_l": plain_clip_l,
    "vjepa2": plain_vjepa2,
}


def refused(path, network="dinov2", **more):
    """What an import says; nothing may be written."""
    output = path.parent / "teacher"
    with pytest.raises(ValueError) as caught:
        pretrained.import_weights(spec(path, network, **more), output, SHAPE)
    assert not output.exists()
    said = str(caught.value)
    assert said.endswith(".") and "\n" not in said
    return said


class Code:
    def __reduce__(self):
        return exec, ("raise SystemExit('the code ran')",)
