"""The assignment A of every position to every code (paper eq. 6), and all that is read from it.

Every quantizer has A = scale <f(z), c> + shift, so that features and codes say all of A:

| quantizer | f(z)              | codes c          | scale, shift | A                            |
|-----------|-------------------|------------------|--------------|------------------------------|
| VQ        | z as unit vectors | unit vectors     | 2, -2        | minus the squared distance   |
| LFQ       | z                 | corners of a cube| 2, 0         | twice the inner product      |
| IBQ       | z                 | free             | 1, 0         | the inner product            |

Every consumer asks for a reduction of A: an index, a read-out, an entropy, a mass. This is the
plain form: it makes A once, K wide, and all reductions share it. It is the reference for kernels,
which subclass it and replace one method each by one that never holds (B, N, K).

Shapes: B images, N positions, K codes, D code width, W width of a table, R rows of a chunk.
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F

ROWS = 1024  # positions per chunk of `top`: 64 MiB of float32 per temporary at K = 16384


@dataclass(frozen=True, eq=False)
class Assignment:
    """The A of a batch, and in its methods all that anyone asks of it."""

    features_BND: torch.Tensor  # f(z), float32
    codes_KD: torch.Tensor  # float32
    scale: float = 1.0
    shift: float = 0.0
    # whether A keeps a graph is decided here and not by whoever asks first: A is shared
    differentiable: bool = field(default_factory=torch.is_grad_enabled)

    def scores(self):
        """A (B, N, K) (eq. 6), differentiable in features and codes. Next-token prediction with the
        assignment as its target needs it, and tests; the rest asks for a reduction."""
        return self._scores_BNK

    def hard(self):
        """q (B, N) = argmax_k A, int64: the hard read-out (eq. 7, 8) is row q of a table."""
        return self._hard_BN

    def weights(self, tau, straight_through=False):
        """s (B, N, K), rows sum to 1: softmax(A / tau) (eq. 7, 8), which tends to the one-hot of
        `hard()` as tau -> 0. With straight_through it has the value of that one-hot and the
        gradient of the softmax."""
        p_BNK = (self.scores() / tau).softmax(-1)
        if not straight_through:
            return p_BNK
        one_hot_BNK = F.one_hot(self.hard(), p_BNK.shape[-1]).to(p_BNK.dtype)
        return one_hot_BNK + p_BNK - p_BNK.detach()

    def read(self, table_KW, tau, straight_through=False, positions=slice(None)):
        """u (B, N, W) = s E (eq. 7, 8): the rows of a table, mixed by the weights of a position;
        of some positions only where a slice of them is given."""
        return self.weights(tau, straight_through)[:, positions] @ table_KW

    def entropies(self, tau):
        """(entropy in nats of each position (B N,), mean assignment (K,)) of softmax(A / tau).

        The mean is over the positions of this process; entropy.py takes it over all processes."""
        log_p_NK = (self.scores().flatten(0, 1) / tau).log_softmax(-1)
        p_NK = log_p_NK.exp()
        return -(p_NK * log_p_NK).sum(-1), p_NK.mean(0)

    def top(self, k, tau):
        """Sums over positions for p = softmax(A / tau), a tensor (3,) for each chunk of ROWS
        positions: the entropy in nats, the largest p, the k (or K, if fewer) largest p."""
        for scores_RK in self.scores().flatten(0, 1).split(ROWS):
            log_p_RK = (scores_RK / tau).log_softmax(-1)
            p_RK = log_p_RK.exp()
            top_Rk = p_RK.topk(min(k, p_RK.shape[1]), dim=1).values
            entropy = -(p_RK * log_p_RK).sum()
            yield torch.stack([entropy, top_Rk[:, 0].sum(), top_Rk.sum()])

    # ---- A, K wide and held: what a kernel does without --------------------------------------

    @cached_property
    def _scores_BNK(self):
        # float32 whatever autocast says: bfloat16 would move positions to a neighbouring code
        off = torch.autocast(self.features_BND.device.type, enabled=False)
        with off, torch.set_grad_enabled(self.differentiable):
            # a scale of 1 and a shift of 0 are left out: each would be one more pass over A
            scaled = self.features_BND if self.scale == 1 else self.scale * self.features_BND
            scores_BNK = scaled @ self.codes_KD.T
            return scores_BNK + self.shift if self.shift else scores_BNK

    @cached_property
    def _hard_BN(self):
        return self.scores().argmax(-1)
