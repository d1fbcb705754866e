"""Two read-outs of one assignment (paper eq. 6 to 8).

The tokenizer gives scores A (B, N, K), one row per position. The AR reads its own embedding table
E (K, D) through an assignment s of each position to the codes:

- hard: s = one-hot(argmax A). What inference consumes and the AR trains on; no gradient to A.
- soft: s = softmax(A / tau). Differentiable in encoder and codebook; tends to hard as tau -> 0.
- straight_through: the value of hard with the gradient of soft; the naive end-to-end baseline.

The read-out is u = s E. The same s may also be the target of next-token prediction.
"""

import torch.nn.functional as F

from gear.files.mistakes import Mistake


def assignment(scores_BNK, temperature, kind):
    """s (B, N, K) in float32, rows sum to 1, differentiable in the scores."""
    p = (scores_BNK.float() / temperature).softmax(-1)
    if kind == "soft":
        return p
    if kind == "straight_through":
        one_hot = F.one_hot(scores_BNK.argmax(-1), p.shape[-1]).to(p.dtype)
        return one_hot + p - p.detach()
    raise Mistake(f"joint.readout cannot be '{kind}'; it is soft or straight_through.")


def read_soft(assignment_BNK, table_KD):
    """u (B, N, D) = s E, with E a constant of the caller's choice."""
    return assignment_BNK @ table_KD


def read_hard(indices_BN, table_KD):
    """u (B, N, D) = E[q]."""
    return F.embedding(indices_BN, table_KD)


def soft_cross_entropy(logits_BNK, target_BNK):
    """-sum_k s_k log q_k, mean over positions: next-token prediction with s as the target."""
    return -(target_BNK * logits_BNK.float().log_softmax(-1)).sum(-1).mean()
