"""The fused form of the assignment: its reductions without a tensor B x N x K.

The classes have the methods of Assignment, and their results differ by rounding. `scores` and
`weights` still give a tensor (B, N, K); next-token prediction with soft targets needs it.

Shapes: B images, N positions, K codes, D code width, W width of a table.
"""

import torch
import torch.nn.functional as F

from gear import kernels
from gear.kernels import functions
from gear.tokenizer import assignment


class FusedAssignment(assignment.Assignment):
    """The Assignment of VQ and IBQ by the functions of gear/kernels/."""

    def hard(self):
        features_ND = self.features_BND.detach().flatten(0, 1)
        with functions.plain(features_ND.device):
            indices_N = kernels.of(features_ND.device).argmax(features_ND, self.codes_KD.detach())
        return indices_N.unflatten(0, self.features_BND.shape[:2])

    def read(self, table_KW, tau, straight_through=False, positions=slice(None)):
        features_BND = self.features_BND[:, positions]
        kind = features_BND.device.type
        if torch.is_autocast_enabled(kind):  # as a product of the weights with the table would be
            table_KW = table_KW.to(torch.get_autocast_dtype(kind))
        indices_N = self.hard()[:, positions].flatten() if straight_through else None
        u_NW = functions.Read.apply(
            features_BND.flatten(0, 1).contiguous(),
            self.codes_KD.contiguous(),
            table_KW,
            self.scale / tau,
            indices_N,
        )
        return u_NW.unflatten(0, features_BND.shape[:2])

    def entropies(self, tau):
        return functions.Entropies.apply(
            self.features_BND.flatten(0, 1).contiguous(),
            self.codes_KD.contiguous(),
            self.scale / tau,
        )

    def parts(self, rows):
        for features_RD in self.features_BND.flatten(0, 1)[rows].split(assignment.ROWS):
            yield self.scores_of(features_RD)


class CubeAssignment(FusedAssignment):
    """The Assignment of LFQ, whose codes are the corners {-1, +1}^D of a cube.

    A is a sum over the channels, so softmax(A / tau) is a product over them: bit i is 1 with the
    probability sigmoid(4 z_i / tau). Argmax, entropy and mean need no sum over the codes."""

    def hard(self):
        bits = 2 ** torch.arange(self.features_BND.shape[-1], device=self.features_BND.device)
        return ((self.features_BND > 0) * bits).sum(-1)

    def entropies(self, tau):
        # A = 2 <z, c>: between -1 and +1 in channel i it changes by 4 z_i
        logit_ND = self.features_BND.flatten(0, 1).float() * (2 * self.scale / tau)
        log_p, log_q = F.logsigmoid(logit_ND), F.logsigmoid(-logit_ND)
        entropy_N = -(log_p.exp() * log_p + log_q.exp() * log_q).sum(-1)
        # p of a code is that of its lower bits times that of its upper bits
        half = logit_ND.shape[-1] // 2
        lower = _joint(log_p[:, :half], log_q[:, :half])
        upper = _joint(log_p[:, half:], log_q[:, half:])
        with functions.plain(logit_ND.device):
            mean_K = (upper.T @ lower).flatten() / len(logit_ND)
        return entropy_N, mean_K


def _joint(log_p_NB, log_q_NB):
    """(N, 2^B) probabilities of all values of B bits, of which bit 0 is the lowest."""
    joint = log_p_NB.new_zeros(len(log_p_NB), 1)
    for log_p_N, log_q_N in zip(log_p_NB.unbind(1), log_q_NB.unbind(1), strict=True):
        joint = torch.cat([joint + log_q_N[:, None], joint + log_p_N[:, None]], 1)
    return joint.exp()
