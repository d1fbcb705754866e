"""The published networks by their formulas, on the raw keys of public files, with torch's functions
alone: what the imported networks are compared with.

s: a state with public keys; g: groups of GroupNorm."""

import itertools

import torch
import torch.nn.functional as F

# ---- tokenizers ------------------------------------------------------------------------------


def conv(s, name, x, stride=1, padding=None):
    weight = s[f"{name}.weight"]
    padding = weight.shape[-1] // 2 if padding is None else padding
    return F.conv2d(x, weight, s.get(f"{name}.bias"), stride, padding)


def norm(s, name, x, g):
    return F.group_norm(x, g, s[f"{name}.weight"], s[f"{name}.bias"], eps=1e-6)


def swish(x):
    return x * torch.sigmoid(x)


def residual(s, name, x, g):
    h = conv(s, f"{name}.conv1", swish(norm(s, f"{name}.norm1", x, g)))
    h = conv(s, f"{name}.conv2", swish(norm(s, f"{name}.norm2", h, g)))
    wider = f"{name}.nin_shortcut.weight" in s
    return h + (conv(s, f"{name}.nin_shortcut", x) if wider else x)


def attention(s, name, x, g):
    B, C, H, W = x.shape
    h = norm(s, f"{name}.norm", x, g)
    q, k, v = (conv(s, f"{name}.{m}", h).reshape(B, C, H * W) for m in "qkv")
    weights = torch.einsum("bci,bcj->bij", q, k).mul(C**-0.5).softmax(-1)
    h = torch.einsum("bij,bcj->bci", weights, v).reshape(B, C, H, W)
    return x + conv(s, f"{name}.proj_out", h)


def blocks(s, level, x, g, block="block"):
    """Residual blocks of a level, each with its attention where the file has one."""
    for j in itertools.count():
        if f"{level}.{block}.{j}.norm1.weight" not in s:
            return x
        x = residual(s, f"{level}.{block}.{j}", x, g)
        if f"{level}.attn.{j}.norm.weight" in s:
            x = attention(s, f"{level}.attn.{j}", x, g)


def middle(s, names, x, g):
    first, between, last = names
    return residual(s, last, attention(s, between, residual(s, first, x, g), g), g)


def vqgan_encode(s, x, g, levels, llamagen):
    """z before quantization, (B, D, h, w)."""
    level, block = ("conv_blocks", "res") if llamagen else ("down", "block")
    h = conv(s, "encoder.conv_in", x)
    for i in range(levels):
        at = f"encoder.{level}.{i}"
        h = blocks(s, at, h, g, block)
        if i < levels - 1:
            h = conv(s, f"{at}.downsample.conv", F.pad(h, (0, 1, 0, 1)), stride=2, padding=0)
    parts = ("0", "1", "2") if llamagen else ("block_1", "attn_1", "block_2")
    h = middle(s, [f"encoder.mid.{p}" for p in parts], h, g)
    return conv(
        s, "quant_conv", conv(s, "encoder.conv_out", swish(norm(s, "encoder.norm_out", h, g)))
    )


def vqgan_decode(s, code, g, levels, llamagen):
    """Images from code vectors (B, D, h, w)."""
    level, block = ("conv_blocks", "res") if llamagen else ("up", "block")
    h = conv(s, "decoder.conv_in", conv(s, "post_quant_conv", code))
    parts = ("0", "1", "2") if llamagen else ("block_1", "attn_1", "block_2")
    h = middle(s, [f"decoder.mid.{p}" for p in parts], h, g)
    for i in range(levels) if llamagen else reversed(range(levels)):
        at = f"decoder.{level}.{i}"
        h = blocks(s, at, h, g, block)
        if i != (levels - 1 if llamagen else 0):
            h = conv(s, f"{at}.upsample.conv", h.repeat_interleave(2, -1).repeat_interleave(2, -2))
    return conv(s, "decoder.conv_out", swish(norm(s, "decoder.norm_out", h, g)))


def magvit2_encode(s, x, g, levels):
    h = conv(s, "encoder.conv_in", x)
    for i in range(levels):
        h = blocks(s, f"encoder.down.{i}", h, g)
        if i < levels - 1:
            h = conv(s, f"encoder.down.{i}.downsample", h, stride=2, padding=1)
    h = blocks(s, "encoder", h, g, "mid_block")
    return conv(s, "encoder.conv_out", swish(norm(s, "encoder.norm_out", h, g)))


def magvit2_decode(s, code, g, levels):
    h = blocks(s, "decoder", conv(s, "decoder.conv_in", code), g, "mid_block")
    mean = code.mean((2, 3))
    n = code[0, 0].numel()
    variance = (code - mean[..., None, None]).square().sum((2, 3)) / (n - 1)
    for i in reversed(range(levels)):
        at = f"decoder.adaptive.{i}"
        scale = F.linear((variance + 1e-6).sqrt(), s[f"{at}.gamma.weight"], s[f"{at}.gamma.bias"])
        shift = F.linear(mean, s[f"{at}.beta.weight"], s[f"{at}.beta.bias"])
        h = F.group_norm(h, g, eps=1e-6) * scale[..., None, None] + shift[..., None, None]
        h = blocks(s, f"decoder.up.{i}", h, g)
        if i > 0:
            h = conv(s, f"decoder.up.{i}.upsample.conv1", h)
            B, C, H, W = h.shape
            out = h.new_zeros(B, C // 4, 2 * H, 2 * W)
            for row in range(2):  # depth to space: channel blocks in the order of the cell
                for column in range(2):
                    part = (2 * row + column) * (C // 4)
                    out[:, :, row::2, column::2] = h[:, part : part + C // 4]
            h = out
    return conv(s, "decoder.conv_out", swish(norm(s, "decoder.norm_out", h, g)))


def quantize(kind, s, z):
    """(indices (B, h, w), code (B, D, h, w), A (N, K), quantizer loss with its entropy term)."""
    B, D, H, W = z.shape
    flat = z.permute(0, 2, 3, 1).reshape(-1, D)
    if kind == "vq":
        e = s["quantize.embedding.weight"]
        e, flat = e / e.norm(dim=-1, keepdim=True), flat / flat.norm(dim=-1, keepdim=True)
        scores = -(flat[:, None] - e[None]).square().sum(-1)
    elif kind == "lfq":
        e = torch.tensor([[1.0 if k >> i & 1 else -1.0 for i in range(D)] for k in range(2**D)])
        scores = -(flat[:, None] - e[None]).square().sum(-1)
        scores = scores + flat.square().sum(-1, keepdim=True) + D  # 2 <z, c>
    else:
        e = s["quantize.embedding.weight"]
        scores = flat @ e.T
    indices = scores.argmax(-1)
    error = (e[indices] - flat).square().mean()
    p = (scores / 0.01).softmax(-1)
    own = -(p * (scores / 0.01).log_softmax(-1)).sum(-1).mean()
    mean = p.mean(0)
    entropy = own + (mean * (mean + 1e-5).log()).sum()
    terms = {"vq": 1 + 0.25, "lfq": 0.25, "ibq": 2 + 0.25}[kind]
    code = e[indices].reshape(B, H, W, D).permute(0, 3, 1, 2)
    return indices.reshape(B, H, W), code, scores, terms * error + 0.05 * entropy


def patchgan(s, x, layers):
    h = F.leaky_relu(conv(s, "main.0", x, 2, 1), 0.2)
    for i in range(1, layers + 1):
        h = conv(s, f"main.{3 * i - 1}", h, 2 if i < layers else 1, 1)
        bn = [s[f"main.{3 * i}.{m}"] for m in ("running_mean", "running_var", "weight", "bias")]
        h = F.leaky_relu(F.batch_norm(h, *bn, training=False), 0.2)
    return conv(s, f"main.{3 * layers + 2}", h, 1, 1)


# ---- AR --------------------------------------------------------------------------------------


def rms_norm(weight, x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def rotated(x, side):
    """x (B, T, H, d) with its first position zero and the others turned by their cell's place:
    the first half of each head by the row, the second by the column, pairs (2j, 2j + 1)."""
    _, T, _, d = x.shape
    out = torch.zeros_like(x)
    for t in range(1, T):
        for half, place in enumerate(divmod(t - 1, side)):
            for j in range(d // 4):
                angle = torch.tensor(place * 10000.0 ** (-2 * j / (d // 2)), dtype=torch.float64)
                c, n = angle.cos().float(), angle.sin().float()
                a = half * (d // 2) + 2 * j
                even, odd = x[:, t, :, a], x[:, t, :, a + 1]
                out[:, t, :, a] = even * c - odd * n
                out[:, t, :, a + 1] = even * n + odd * c
    return out


def llamagen(s, tokens, labels, heads, side):
    """Logits (B, N, K) of the tokens, each from the label and the tokens before it."""
    x = torch.cat(
        [
            s["cls_embedding.embedding_table.weight"][labels][:, None],
            s["tok_embeddings.weight"][tokens[:, :-1]],
        ],
        1,
    )
    B, T, D = x.shape
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    for i in itertools.count():
        at = f"layers.{i}"
        if f"{at}.ffn_norm.weight" not in s:
            break
        h = rms_norm(s[f"{at}.attention_norm.weight"], x) @ s[f"{at}.attention.wqkv.weight"].T
        q, k, v = (part.reshape(B, T, heads, -1) for part in h.split(D, -1))
        q, k = rotated(q, side), rotated(k, side)
        weights = torch.einsum("bthd,bshd->bhts", q, k) * (D // heads) ** -0.5
        weights = weights.masked_fill(future, -torch.inf).softmax(-1)
        h = torch.einsum("bhts,bshd->bthd", weights, v).reshape(B, T, D)
        x = x + h @ s[f"{at}.attention.wo.weight"].T
        h = rms_norm(s[f"{at}.ffn_norm.weight"], x)
        gate, up = (h @ s[f"{at}.feed_forward.{w}.weight"].T for w in ("w1", "w3"))
        x = x + (swish(gate) * up) @ s[f"{at}.feed_forward.w2.weight"].T
    return rms_norm(s["norm.weight"], x) @ s["output.weight"].T
