"""LlamaGen's conditional transformer (arXiv 2406.06525).

- pre-norm RMSNorm, SwiGLU, no biases, output head untied and zero at the start
- 2D rotary positions; the condition's slots are unrotated (`identity`) or, as in the published
  weights, have their query and key set to zero (`zero`)
- P slots of the condition (1 for a class), then the tokens: the last slot predicts token 0, the
  position of token k predicts token k + 1
- reads embeddings, so that a soft read-out goes in where a hard one does

Shapes: B images, N tokens of an image, T tokens read, P slots of the prefix, S = P + T positions,
D width, H heads, d head width, c = d / 2 pairs, K codes.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.ar.condition import ClassCondition
from gear.files.mistakes import Mistake


def rotary_table(side, head_dim, prefix, prefix_rope, base=10000.0):
    """(prefix + side^2, c, 2) cos and sin: rows in the first half, columns in the second; a prefix
    row is 1, 0 (identity) or 0, 0 (zero)."""
    half = head_dim // 2
    # float64, so that the table is rounded once, at its end
    frequency = base ** -(torch.arange(0, half, 2, dtype=torch.float64) / half)  # (c / 2,)
    cell = torch.arange(side, dtype=torch.float64)[:, None] * frequency  # (side, c / 2)
    rows = cell[:, None].expand(side, side, -1)
    columns = cell[None].expand(side, side, -1)
    angle = torch.cat([rows, columns], -1).flatten(0, 1)  # (side, side, c) -> (side^2, c)
    table = torch.stack([angle.cos(), angle.sin()], -1).float()
    # a text has no order that 2D positions could say: all slots have the same row
    head = torch.zeros(prefix, *table.shape[1:])
    head[..., 0] = float(prefix_rope == "identity")
    return torch.cat([head, table])


def rotate(x_BHSd, table_Sc2):
    """Rotate the pairs (2j, 2j + 1) of each head, in float32."""
    pairs = x_BHSd.float().unflatten(-1, (-1, 2))  # (B, H, S, d) -> (B, H, S, c, 2)
    if torch.compiler.is_compiling():  # the compiler has no code for complex numbers
        (a, b), (cos, sin) = pairs.unbind(-1), table_Sc2.unbind(-1)
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], -1)
    else:  # read as c complex numbers, a rotation is one product
        turned = torch.view_as_complex(pairs) * torch.view_as_complex(table_Sc2)
        turned = torch.view_as_real(turned)
    return turned.flatten(-2).type_as(x_BHSd)


def hidden_width(dim):
    """Width of the SwiGLU layer. It has three matrices where a plain layer of width 4 D has two, so
    8/3 D gives both as many weights; rounded up to a multiple of 256, as published. Narrower
    networks, which exist in demos only, would round up far beyond that."""
    return -(-int(8 * dim / 3) // 256) * 256 if dim >= 256 else 2 * dim


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        hidden = hidden_width(config.dim)
        self.attention_norm = nn.RMSNorm(config.dim, eps=1e-5)
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.attention_out = nn.Linear(config.dim, config.dim, bias=False)
        self.mlp_norm = nn.RMSNorm(config.dim, eps=1e-5)
        self.gate_up = nn.Linear(config.dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, config.dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def projected(self, x_BSD, text):
        """Query, key and value (B, S, 3 D), from one product."""
        return self.qkv(self.attention_norm(x_BSD))

    def gathered(self, y_BSD, text):
        """The residual (B, S, D) of what the heads have read."""
        return self.attention_out(y_BSD)

    def forward(self, x_BSD, rope_Sc2, mask=None, cache=None, text=0):
        """(B, S, D). mask: Prefix.mask, or None for causality; cache: of the positions before;
        text: how many of the first positions are the prefix's, which this block treats alike."""
        # (B, S, 3 D) -> (B, S, 3 H, d) -> (B, 3 H, S, d)
        qkv = self.projected(x_BSD, text).unflatten(-1, (3 * self.heads, -1))
        # queries and keys are rotated together, in one pass over (B, 2 H, S, d)
        qk, v_BHSd = qkv.transpose(1, 2).split((2 * self.heads, self.heads), 1)
        q_BHSd, k_BHSd = rotate(qk, rope_Sc2).chunk(2, 1)
        if cache is not None:
            k_BHSd, v_BHSd = cache.extend(k_BHSd, v_BHSd)
        # a single position may read all that is cached; is_causal would let it read the first only
        causal = mask is None and q_BHSd.shape[2] > 1
        y_BHSd = F.scaled_dot_product_attention(
            q_BHSd, k_BHSd, v_BHSd, attn_mask=mask, is_causal=causal
        )
        # (B, H, S, d) -> (B, S, H d = D)
        x_BSD = x_BSD + self.dropout(self.gathered(y_BHSd.transpose(1, 2).flatten(2), text))
        # SwiGLU: (B, S, 2 hidden) -> two of (B, S, hidden)
        gate, up = self.gate_up(self.mlp_norm(x_BSD)).chunk(2, -1)
        return x_BSD + self.dropout(self.down(F.silu(gate) * up))


class Cache:
    """Keys and values of one block, written in place; attention reads the valid part only."""

    def __init__(self, batch, heads, length, head_dim, dtype, device):
        shape = (batch, heads, length, head_dim)
        self.k = torch.empty(shape, dtype=dtype, device=device)
        self.v = torch.empty(shape, dtype=dtype, device=device)
        self.length = 0

    def extend(self, k, v):
        """All keys and values so far, (B, H, S so far, d), from those of the new positions."""
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
        self.config, self.length = config, side * side
        self.embedding = nn.Embedding(codebook_size, config.dim)  # E
        self.condition = self.make_condition(classes)
        self.dropout = nn.Dropout(config.token_dropout)
        self.blocks = nn.ModuleList(self.make_block(n) for n in range(1, config.layers + 1))
        self.norm = nn.RMSNorm(config.dim, eps=1e-5)
        self.head = nn.Linear(config.dim, codebook_size, bias=False)
        head_dim = config.dim // config.heads
        table = rotary_table(side, head_dim, self.condition.slots, config.prefix_rope)
        self.register_buffer("rope", table, persistent=False)
        # every table and matrix alike, as published, instead of torch's own start
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0.0, 0.02)
        # all codes equally likely at first, as published
        nn.init.zeros_(self.head.weight)

    def make_condition(self, classes):
        return ClassCondition(classes, self.config.dim)

    def make_block(self, number):
        """The block with this number, from 1."""
        return Block(self.config)

    def _apply(self, fn, recurse=True):
        # a network of another dtype turns by the same angles: the table only changes its device
        table = self.rope
        super()._apply(fn, recurse)
        self.rope = table.to(self.rope.device)
        return self

    def rotations(self, prefix, begin, end):
        """Rows begin to end of `rope` for a prefix, which may have fewer slots than it has room
        for: the slots' rows are all alike."""
        spare = self.condition.slots - prefix.slots
        return self.rope[spare + begin : spare + end]

    def forward(self, u_BTD, prefix, tap=None, stop=False):
        """(logits (B, T+1, K), tap (B, T+1, D)) for T embedded tokens after a Prefix.

        Position k predicts token k and is aligned with patch k (both from 0). `tap` is the block
        (from 1) whose output is returned; with `stop` the blocks above it and the head are left
        out and the logits are None."""
        state_BND, tapped = self.states(u_BTD, prefix, tap, stop)
        return None if state_BND is None else self.head(state_BND), tapped

    def states(self, u_BTD, prefix, tap=None, stop=False):
        """(what the head reads (B, T+1, D), tap); see `forward`."""
        # the tables' dtype: a read-out under autocast is bfloat16
        parts = (x.to(self.embedding.weight.dtype) for x in (prefix.vectors_BPD, u_BTD))
        x_BSD, tapped = self.dropout(torch.cat([*parts], 1)), None
        rope, mask = self.rotations(prefix, 0, x_BSD.shape[1]), prefix.mask(u_BTD.shape[1])
        for number, block in enumerate(self.blocks, 1):
            x_BSD = block(x_BSD, rope, mask, None, prefix.slots)
            if number == tap:
                tapped = predicting(x_BSD, prefix)
                if stop:
                    return None, tapped
        return self.norm(predicting(x_BSD, prefix)), tapped


def predicting(x_BSD, prefix):
    """(B, T+1, D): the states that predict a token, from the last slot on."""
    # one slot: not even a slice of everything, which as a node of its own would change the order in
    # which a block's gradients are added, and so their bits
    return x_BSD if prefix.slots == 1 else x_BSD[:, prefix.slots - 1 :]


class Decoder:
    """The same network, a few positions at a time: the prefix first, then each token drawn."""

    def __init__(self, ar, prefix):
        self.ar, self.prefix, self.mask = ar, prefix, prefix.mask(ar.length - 1)
        config, weight = ar.config, ar.embedding.weight
        # the last token is never read, so that its place is not there
        length = prefix.slots + ar.length - 1
        shape = (len(prefix.vectors_BPD), config.heads, length, config.dim // config.heads)
        self.caches = [Cache(*shape, weight.dtype, weight.device) for _ in ar.blocks]

    def next_logits(self, x_BSD):
        """(B, K) after S more positions: the prefix (B, P, D) first, then each token (B, 1, D)."""
        return self.logits(self.next_state(x_BSD))

    def logits(self, x_B1D):
        """(B, K) of what `next_state` returns."""
        return self.ar.head(self.ar.norm(x_B1D))[:, 0]  # (B, 1, K) -> (B, K)

    def next_state(self, x_BSD):
        """What the blocks make of the last of S more positions, (B, 1, D)."""
        begin = self.caches[0].length
        end = begin + x_BSD.shape[1]
        rope = self.ar.rotations(self.prefix, begin, end)
        mask = None if self.mask is None else self.mask[:, :, begin:end, :end]
        text = max(0, self.prefix.slots - begin)
        for block, cache in zip(self.ar.blocks, self.caches, strict=True):
            x_BSD = block(x_BSD, rope, mask, cache, text)
        return x_BSD[:, -1:]
