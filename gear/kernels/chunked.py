"""The assignment a few rows at a time, in torch.

S = scale features codes^T exists for R rows at once, in a buffer that all chunks share. The
gradients compute S again. All sums over rows have a fixed order, so equal inputs give equal bits.

Powers are of 2 instead of e: torch's exp2 takes a third of exp's time on a CPU, and a sixteenth
where results underflow. The highest score of a row is subtracted before the scale, which is exact
for the codes that matter; at a low temperature the scale is in the hundreds.

Shapes: N positions, K codes, D code width, W width of a table, R rows of a chunk.
"""

import math

import torch

ELEMENTS = 2**22  # R K of a chunk: 16 MiB of float32, 256 rows of 16384 codes


def argmax(features_ND, codes_KD):
    """(N,) int64: the code with the largest S; of equal ones the lowest index."""
    found_N = features_ND.new_empty(len(features_ND), dtype=torch.int64)
    for part, product_RK in _products(features_ND, codes_KD):
        found_N[part] = product_RK.argmax(1)
    return found_N


def entropy(features_ND, codes_KD, scale):
    """(statistics (2, N), entropy (N,), mean (K,)) of p = softmax(S).

    The entropy of each row, in nats; the mean of p over the rows. statistics: see `_log2_p`."""
    statistics_2N = features_ND.new_empty(2, len(features_ND))
    entropy_N = features_ND.new_empty(len(features_ND))
    sum_K = features_ND.new_zeros(len(codes_KD))
    power_RK = _buffer(features_ND, codes_KD)
    for part, scores_RK in _products(features_ND, codes_KD):
        highest_R = scores_RK.amax(1)
        scores_RK.sub_(highest_R[:, None]).mul_(scale / math.log(2))
        power_RK = power_RK[: len(scores_RK)]
        torch.exp2(scores_RK, out=power_RK)
        total_R = power_RK.sum(1)
        sum_K.addmv_(power_RK.T, 1 / total_R)
        # -sum_k p_k log2 p_k, and from bits to nats
        bits_R = total_R.log2() - scores_RK.mul_(power_RK).sum(1) / total_R
        entropy_N[part] = bits_R * math.log(2)
        statistics_2N[:, part] = torch.stack([highest_R, total_R.log2()])
    return statistics_2N, entropy_N, sum_K / len(features_ND)


def entropy_grad(features_ND, codes_KD, scale, statistics_2N, entropy_N, grad_N, grad_K):
    """(of features (N, D), of codes (K, D)): the gradients of
    sum(grad_N entropy_N) + sum(grad_K mean_K)."""
    gradient = _Gradient(features_ND, codes_KD)
    grad_K = grad_K / len(features_ND)
    p_RK = _buffer(features_ND, codes_KD)
    for part, scores_RK in _products(features_ND, codes_KD):
        p_RK = p_RK[: len(scores_RK)]
        torch.exp2(_log2_p(scores_RK, scale, statistics_2N[:, part]), out=p_RK)
        # dS = p (-grad_N (log p + entropy) + grad_K - <p, grad_K>)
        constant_R = grad_N[part] * entropy_N[part] + p_RK @ grad_K
        scores_RK.mul_(-math.log(2) * grad_N[part, None])
        scores_RK.add_(grad_K).sub_(constant_R[:, None])
        gradient.add(part, scores_RK.mul_(p_RK))
    return gradient.scaled(scale)


def read(features_ND, codes_KD, scale, table_KW):
    """(statistics (2, N), u (N, W)): u = softmax(S) E, in the table's dtype."""
    statistics_2N = features_ND.new_empty(2, len(features_ND))
    u_NW = table_KW.new_empty(len(features_ND), table_KW.shape[1])
    for part, scores_RK in _products(features_ND, codes_KD):
        highest_R = scores_RK.amax(1)
        scores_RK.sub_(highest_R[:, None]).mul_(scale / math.log(2)).exp2_()
        total_R = scores_RK.sum(1)
        p_RK = scores_RK.div_(total_R[:, None])
        torch.mm(p_RK.to(table_KW.dtype), table_KW, out=u_NW[part])
        statistics_2N[:, part] = torch.stack([highest_R, total_R.log2()])
    return statistics_2N, u_NW


def read_grad(features_ND, codes_KD, scale, table_KW, statistics_2N, grad_NW, wants_table):
    """(of features (N, D), of codes (K, D), of the table (K, W) or None): the gradients of
    sum(grad_NW u)."""
    gradient = _Gradient(features_ND, codes_KD)
    of_table = torch.zeros_like(table_KW) if wants_table else None
    read_RK = _buffer(features_ND, codes_KD, table_KW.dtype)
    for part, scores_RK in _products(features_ND, codes_KD):
        p_RK = _log2_p(scores_RK, scale, statistics_2N[:, part]).exp2_()
        if wants_table:
            of_table.addmm_(p_RK.to(table_KW.dtype).T, grad_NW[part])
        # dS = p (grad E^T) - p <p, grad E^T>. The second term is summed from the first, so that
        # they cancel where p is 1
        torch.mm(grad_NW[part], table_KW.T, out=read_RK[: len(p_RK)])
        grad_RK = read_RK[: len(p_RK)].to(p_RK.dtype).mul_(p_RK)
        gradient.add(part, grad_RK.sub_(p_RK.mul_(grad_RK.sum(1, keepdim=True))))
    return *gradient.scaled(scale), of_table


def _log2_p(product_RK, scale, statistics_2R):
    """log2 p in place of features codes^T. statistics: of each row the highest of these products
    and log2 of the sum of 2^(scale (product - highest) / ln 2)."""
    highest_R, log2_total_R = statistics_2R
    product_RK.sub_(highest_R[:, None]).mul_(scale / math.log(2))
    return product_RK.sub_(log2_total_R[:, None])


def _rows(codes_KD):
    return max(1, ELEMENTS // len(codes_KD))


def _buffer(features_ND, codes_KD, dtype=None):
    rows = min(_rows(codes_KD), len(features_ND))
    return features_ND.new_empty(rows, len(codes_KD), dtype=dtype)


def _products(features_ND, codes_KD):
    """Yields (slice of rows, features codes^T (R, K) of them), in one buffer."""
    buffer, rows = _buffer(features_ND, codes_KD), _rows(codes_KD)
    for begin in range(0, len(features_ND), rows):
        part = slice(begin, min(begin + rows, len(features_ND)))
        product_RK = buffer[: part.stop - begin]
        yield part, torch.mm(features_ND[part], codes_KD.T, out=product_RK)


class _Gradient:
    """The gradients of features and codes, a chunk of dS at a time."""

    def __init__(self, features_ND, codes_KD):
        self.features_ND, self.codes_KD = features_ND, codes_KD
        self.of_features_ND = torch.empty_like(features_ND)
        # transposed, for a product that reads dS in the order of memory
        self.of_codes_DK = torch.zeros_like(codes_KD.T, memory_format=torch.contiguous_format)

    def add(self, part, grad_RK):
        torch.mm(grad_RK, self.codes_KD, out=self.of_features_ND[part])
        self.of_codes_DK.addmm_(self.features_ND[part].T, grad_RK)

    def scaled(self, scale):
        return self.of_features_ND.mul_(scale), self.of_codes_DK.T * scale
