"""LlamaGen's class-conditional transformer (arXiv 2406.06525).

- pre-norm RMSNorm, SwiGLU, no biases, output head untied and zero at the start
- 2D rotary positions; the condition's token is unrotated (`identity`) or, as in the published
  weights, has its query and key set to zero (`zero`)
- one condition token, then the tokens: the state at position k predicts token k
- reads embeddings, so that a soft read-out goes in where a hard one does

Shapes: B images, N tokens, T positions read, D width, H heads, K codes.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.files.mistakes import Mistake


def rotary_table(side, head_dim, prefix, prefix_rope, base=10000.0):
    """(prefix + side^2, head_dim/2) complex cos + i sin: rows in the first half, columns in the
    second; a prefix row is 1 (identity) or 0 (zero)."""
    half = head_dim // 2
    frequency = base ** -(torch.arange(0, half, 2, dtype=torch.float64) / half)
    cell = torch.arange(side, dtype=torch.float64)[:, None] * frequency
    rows = cell[:, None].expand(side, side, -1)
    columns = cell[None].expand(side, side, -1)
    angle = torch.cat([rows, columns], -1).flatten(0, 1)
    table = torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
    head = torch.full((prefix, table.shape[1]), float(prefix_rope == "identity"))
    return torch.cat([head.to(table.dtype), table])


def rotate(x_BHTd, table_Tc):
    """Rotate the pairs (2j, 2j + 1) of each head, in float32."""
    pairs = torch.view_as_complex(x_BHTd.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table_Tc).flatten(-2).type_as(x_BHTd)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        hidden = -(-int(8 * config.dim / 3) // 256) * 256 if config.dim >= 256 else 2 * config.dim
        self.attention_norm = nn.RMSNorm(config.dim, eps=1e-5)
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.attention_out = nn.Linear(config.dim, config.dim, bias=False)
        self.mlp_norm = nn.RMSNorm(config.dim, eps=1e-5)
        self.gate_up = nn.Linear(config.dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, config.dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD, rope, cache=None):
        qkv = self.qkv(self.attention_norm(x_BTD)).unflatten(-1, (3 * self.heads, -1))
        qk, v = qkv.transpose(1, 2).split((2 * self.heads, self.heads), 1)
        q, k = rotate(qk, rope).chunk(2, 1)
        if cache is not None:
            k, v = cache.extend(k, v)
        causal = q.shape[2] > 1
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        x = x_BTD + self.dropout(self.attention_out(y.transpose(1, 2).flatten(2)))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, -1)
        return x + self.dropout(self.down(F.silu(gate) * up))


class Cache:
    """Keys and values of one block, written in place; attention reads the valid prefix only."""

    def __init__(self, batch, heads, length, head_dim, dtype, device):
        shape = (batch, heads, length, head_dim)
        self.k = torch.empty(shape, dtype=dtype, device=device)
        self.v = torch.empty(shape, dtype=dtype, device=device)
        self.length = 0

    def extend(self, k, v):
        end = self.length + k.shape[2]
        self.k[:, :, self.length : end] = k
        self.v[:, :, self.length : end] = v
        self.length = end
        return self.k[:, :, :end], self.v[:, :, :end]


class Transformer(nn.Module):
    """config: gear.config.AR; codebook_size: K; classes without the null class; side: sqrt(N)."""

    def __init__(self, config, codebook_size, classes, side):
        super().__init__()
        if config.dim % config.heads or (config.dim // config.heads) % 4:
            raise Mistake(
                f"ar.dim {config.dim} over ar.heads {config.heads} gives no head width that is a "
                "multiple of 4, which 2D rotary positions need."
            )
        if not (0 <= config.dropout <= 1 and 0 <= config.token_dropout <= 1):
            raise Mistake(
                f"ar.dropout is {config.dropout} and ar.token_dropout {config.token_dropout}; "
                "both are shares, from 0 to 1."
            )
        self.config, self.null, self.length = config, classes, side * side
        self.embedding = nn.Embedding(codebook_size, config.dim)  # E
        self.condition = nn.Embedding(classes + 1, config.dim)
        self.dropout = nn.Dropout(config.token_dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.dim, eps=1e-5)
        self.head = nn.Linear(config.dim, codebook_size, bias=False)
        table = rotary_table(side, config.dim // config.heads, 1, config.prefix_rope)
        self.register_buffer("rope", table, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(self.head.weight)

    def forward(self, u_BTD, labels_B, tap=None, stop=False):
        """(logits (B, T+1, K), tap (B, T+1, D)) for T embedded tokens after the label.

        Position k predicts token k and is aligned with patch k (both from 0). `tap` is the block
        (from 1) whose output is returned; with `stop` the blocks above it and the head are left
        out and the logits are None."""
        x = torch.cat([self.condition(labels_B)[:, None], u_BTD.to(self.condition.weight.dtype)], 1)
        x = self.dropout(x)
        rope, tapped = self.rope[: x.shape[1]], None
        for number, block in enumerate(self.blocks, 1):
            x = block(x, rope)
            if number == tap:
                tapped = x
                if stop:
                    return None, tapped
        return self.head(self.norm(x)), tapped

    # ---- decoding, one position at a time ------------------------------------------------------

    def caches(self, batch):
        weight = self.embedding.weight
        head_dim = self.config.dim // self.config.heads
        shape = (batch, self.config.heads, self.length, head_dim)
        return [Cache(*shape, weight.dtype, weight.device) for _ in self.blocks]

    def next_logits(self, x_BD, caches):
        """(B, K) after one more embedded position: the label first, then each drawn token."""
        position = caches[0].length
        x, rope = x_BD[:, None], self.rope[position : position + 1]
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, rope, cache)
        return self.head(self.norm(x))[:, 0]
