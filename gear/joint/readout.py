"""Two read-outs of one assignment (paper eq. 6 to 8).

The tokenizer gives A, a score of every code at every position (gear/tokenizer/assignment.py). The
AR has an embedding table E (K, D) of its own and reads it through weights s of the codes, u = s E:

- hard: s = one-hot(argmax A), so that u = E[q]. What inference consumes and the AR trains on (in
  gear/ar/train.py, by looking up). No gradient reaches A.
- soft: s = softmax(A / tau). Differentiable in encoder and codebook; tends to hard as tau -> 0.
- straight_through: the value of hard with the gradient of soft; the naive end-to-end baseline.

The tokenizer's update reads by one of the last two. The same s may be the target of next-token
prediction too.

Shapes: B images, N positions, K codes, D width of the AR.
"""


def read_out(assignment, table_KD, temperature, kind, as_target=False):
    """(u (B, N - 1, D), s (B, N, K) or None): what the AR reads, all positions but the last, which
    nothing comes after; and s where it is a target, of all positions. kind: see above."""
    through = kind == "straight_through"
    if not as_target:  # u alone: s need not exist, and a kernel may do without it
        return assignment.read(table_KD, temperature, through, slice(None, -1)), None
    # computed once for both, so that their gradients are added before they pass the softmax
    s_BNK = assignment.weights(temperature, through)
    return s_BNK[:, :-1] @ table_KD, s_BNK


def soft_cross_entropy(logits_BNK, target_BNK):
    """-sum_k s_k log q_k, mean over positions: L_NTP (eq. 4) with s in place of the one-hot."""
    # float32 before the logarithm: under autocast the logits are bfloat16
    return -(target_BNK * logits_BNK.float().log_softmax(-1)).sum(-1).mean()
