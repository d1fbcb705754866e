"""The assignment A of every position to every code (paper eq. 6), and its reductions.

Every quantizer has A = scale <f(z), c> + shift, so features and codes determine A:

| quantizer | f(z)              | codes c          | scale, shift | A                            |
|-----------|-------------------|------------------|--------------|------------------------------|
| VQ        | z as unit vectors | unit vectors     | 2, -2        | minus the squared distance   |
| LFQ       | z                 | corners of a cube| 2, 0         | twice the inner product      |
| IBQ       | z                 | free             | 1, 0         | the inner product            |

Losses, read-outs and statistics ask for a reduction of A: an index, a mixture of rows, an entropy,
sums of probabilities. This class computes A (B, N, K) once, and all reductions share it. It is the
reference form; the fused form (gear/tokenizer/fused.py) never holds (B, N, K).

Shapes: B images, N positions, K codes, D code width, W width of a table, R rows of a chunk.
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F

ROWS = 1024  # positions per chunk of `top`: 64 MiB of float32 per temporary at K = 16384


@dataclass(frozen=True, eq=False)
class Assignment:
    """The A of a batch; each method returns one reduction of A."""

    features_BND: torch.Tensor  # f(z), float32
    codes_KD: torch.Tensor  # float32
    scale: float = 1.0
    shift: float = 0.0
    # A is shared, so its graph must not depend on the mode in which the first reduction is asked
    differentiable: bool = field(default_factory=torch.is_grad_enabled)

    def scores(self):
        """A (B, N, K) (eq. 6), differentiable in features and codes.

        Next-token prediction with soft targets needs A; all other uses ask for a reduction."""
        return self._scores_BNK

    def hard(self):
        """q (B, N) = argmax_k A, int64.

        The hard read-out (eq. 7, 8) is row q of a table."""
        return self._hard_BN

    def weights(self, tau, straight_through=False):
        """s (B, N, K) = softmax(A / tau) (eq. 7, 8); rows sum to 1.

        For tau -> 0, s tends to the one-hot vectors of `hard()`. straight_through: the values are
        the one-hot vectors, the gradient is that of the softmax."""
        p_BNK = (self.scores() / tau).softmax(-1)
        if not straight_through:
            return p_BNK
        one_hot_BNK = F.one_hot(self.hard(), p_BNK.shape[-1]).to(p_BNK.dtype)
        return one_hot_BNK + p_BNK - p_BNK.detach()

    def read(self, table_KW, tau, straight_through=False, positions=slice(None)):
        """u (B, N, W) = s E (eq. 7, 8): rows of the table E, mixed by the weights s.

        positions: slice of the N positions to read."""
        return self.weights(tau, straight_through)[:, positions] @ table_KW

    def entropies(self, tau):
        """(entropy in nats of each position (B N,), mean assignment (K,)) of softmax(A / tau).

        The mean is over this process's positions; entropy.py averages it over all processes."""
        log_p_NK = (self.scores().flatten(0, 1) / tau).log_softmax(-1)
        p_NK = log_p_NK.exp()
        return -(p_NK * log_p_NK).sum(-1), p_NK.mean(0)

    def sharpness(self, tau, ks, rows=slice(None)):
        """Yields a tensor (3 + len(ks),) for each chunk of ROWS positions: sums over its positions.

        The sums are of the entropy of p = softmax(A / tau), of that of softmax(A), in nats, of the
        largest p, and for each k of the k largest p (all p if K < k). rows: slice of the B N
        positions."""
        for scores_RK in self.parts(rows):
            log_p_RK = (scores_RK / tau).log_softmax(-1)
            p_RK = log_p_RK.exp()
            largest_Rk = p_RK.topk(min(max(ks), p_RK.shape[1]), dim=1).values
            sums = [-(p_RK * log_p_RK).sum()]
            log_p_RK = scores_RK.log_softmax(-1)
            sums += [-(log_p_RK.exp() * log_p_RK).sum()]
            sums += [largest_Rk[:, 0].sum()]
            sums += [largest_Rk[:, :k].contiguous().sum() for k in ks]
            yield torch.stack(sums)

    def parts(self, rows):
        """Yields A (R, K) of ROWS positions at a time. rows: slice of the B N positions."""
        yield from self.scores().flatten(0, 1)[rows].split(ROWS)

    def scores_of(self, features_RD):
        """A (R, K) of some features; float32 also under autocast, because in bfloat16 some
        positions would get a neighbouring code."""
        with torch.autocast(features_RD.device.type, enabled=False):
            # a scale of 1 and a shift of 0 are skipped: each would be one more pass over A
            scaled = features_RD if self.scale == 1 else self.scale * features_RD
            scores_RK = scaled @ self.codes_KD.T
            return scores_RK + self.shift if self.shift else scores_RK

    # ---- A as a tensor (B, N, K), which the fused form avoids ----------------------------------

    @cached_property
    def _scores_BNK(self):
        with torch.set_grad_enabled(self.differentiable):
            return self.scores_of(self.features_BND)

    @cached_property
    def _hard_BN(self):
        return self.scores().argmax(-1)
