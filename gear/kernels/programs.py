"""The programs of gear/kernels/gpu.py for a GPU, in Triton.

Each computes tiles of the scores S = features_ND @ codes_KD.T, in float32, and of p = softmax(S):

- a row kernel has a block of rows and loops over all codes
- a code kernel has a block of codes and loops over some rows
- a gradient kernel has one tile

None adds to what another program writes, so the bits are the same at each run. Scores are products
of float32 numbers ("ieee"), not of TF32, which would move rows to neighbouring codes. All sums are
in float32.

Shapes: N rows, K codes, D code width, W width of a table; R rows and C codes of a tile.
"""

import os

import triton
import triton.language as tl
from triton.language import constexpr

ROWS = constexpr(32)  # of a tile of scores: N = 8192 gives 256 programs, about two a processor
CODES = constexpr(128)  # of such a tile: the most for which no program lacks registers at D = 8
LOWEST = constexpr(-1e30)  # the score of no code; finite, so that no difference is NaN
# the interpreter multiplies bfloat16 as if it were an integer; in float32 the products are the same
UPCAST = constexpr(os.environ.get("TRITON_INTERPRET") == "1")


# ---- tiles ---------------------------------------------------------------------------------------


@triton.jit
def _load(matrix, rows, columns, height, width):
    """A tile of a matrix (height, width); 0 outside of the matrix."""
    inside = (rows[:, None] < height) & (columns[None, :] < width)
    places = rows[:, None].to(tl.int64) * width + columns[None, :]
    return tl.load(matrix + places, mask=inside, other=0.0)


@triton.jit
def _store(matrix, rows, columns, height, width, tile):
    """Write the part of a tile that is inside of a matrix (height, width)."""
    inside = (rows[:, None] < height) & (columns[None, :] < width)
    places = rows[:, None].to(tl.int64) * width + columns[None, :]
    tl.store(matrix + places, tile.to(matrix.dtype.element_ty), mask=inside)


@triton.jit
def _product(left, right, total):
    """total + left @ right, summed in float32."""
    if UPCAST:
        left = left.to(tl.float32)
        right = right.to(tl.float32)
    return tl.dot(left, right, total, input_precision="ieee")


@triton.jit
def _scores(features, codes, rows, ks, N, K, D: constexpr, WIDTH: constexpr):
    """A tile of S; LOWEST where there is no code."""
    scores = tl.zeros((rows.shape[0], ks.shape[0]), tl.float32)
    for start in range(0, D, WIDTH):
        ds = start + tl.arange(0, WIDTH)
        f = _load(features, rows, ds, N, D)
        c = _load(codes, ks, ds, K, D)
        scores = tl.dot(f, tl.trans(c), scores, input_precision="ieee")
    return tl.where(ks[None, :] < K, scores, LOWEST)


@triton.jit
def _softmax(scores, lse, rows, N):
    """p of a tile of S; 0 where there is no row or no code."""
    lse_R = tl.load(lse + rows, mask=rows < N, other=float("inf"))
    return tl.exp(scores - lse_R[:, None])


# ---- row kernels ---------------------------------------------------------------------------------


@triton.jit
def argmax_kernel(features, codes, found, N, K, D: constexpr, WIDTH: constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    best_R = tl.full((ROWS,), float("-inf"), tl.float32)
    index_R = tl.zeros((ROWS,), tl.int32)
    for start in range(0, K, CODES):
        ks = start + tl.arange(0, CODES)
        scores = _scores(features, codes, rows, ks, N, K, D, WIDTH)
        top_R = tl.max(scores, 1)
        first_R = tl.min(tl.where(scores == top_R[:, None], ks[None, :], K), 1)
        better_R = top_R > best_R  # an equal score has a higher index
        best_R = tl.where(better_R, top_R, best_R)
        index_R = tl.where(better_R, first_R, index_R)
    tl.store(found + rows, index_R.to(tl.int64), mask=rows < N)


@triton.jit
def statistics_kernel(features, codes, lse, entropy, N, K, D: constexpr, WIDTH: constexpr):
    """Log-sum-exp and entropy, from the sums of e = exp(S - highest) and of e (S - highest)."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    highest_R = tl.full((ROWS,), LOWEST, tl.float32)
    sum_R = tl.zeros((ROWS,), tl.float32)
    weighted_R = tl.zeros((ROWS,), tl.float32)
    for start in range(0, K, CODES):
        ks = start + tl.arange(0, CODES)
        scores = _scores(features, codes, rows, ks, N, K, D, WIDTH)
        higher_R = tl.maximum(highest_R, tl.max(scores, 1))
        # the sums so far are relative to the highest score so far
        change_R = highest_R - higher_R
        shrink_R = tl.exp(change_R)
        relative = scores - higher_R[:, None]
        e = tl.exp(relative)
        weighted_R = shrink_R * (weighted_R + change_R * sum_R) + tl.sum(e * relative, 1)
        sum_R = shrink_R * sum_R + tl.sum(e, 1)
        highest_R = higher_R
    log_R = tl.log(sum_R)
    tl.store(lse + rows, highest_R + log_R, mask=rows < N)
    tl.store(entropy + rows, log_R - weighted_R / sum_R, mask=rows < N)


@triton.jit
def expectation_kernel(
    features, codes, lse, values, expected, rest, N, K, D: constexpr, WIDTH: constexpr
):
    """sum_k p_k values_k of each row, and the rest that rounding left out of lse.

    An lse of 200 is rounded by up to 1e-5, so that the sum of exp(S - lse) is not quite 1."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    sum_R = tl.zeros((ROWS,), tl.float32)
    weighted_R = tl.zeros((ROWS,), tl.float32)
    for start in range(0, K, CODES):
        ks = start + tl.arange(0, CODES)
        scores = _scores(features, codes, rows, ks, N, K, D, WIDTH)
        p = _softmax(scores, lse, rows, N)
        value_C = tl.load(values + ks, mask=ks < K, other=0.0)
        sum_R += tl.sum(p, 1)
        weighted_R += tl.sum(p * value_C[None, :], 1)
    sum_R = tl.where(rows < N, sum_R, 1.0)
    tl.store(expected + rows, weighted_R / sum_R, mask=rows < N)
    tl.store(rest + rows, tl.log(sum_R), mask=rows < N)


@triton.jit
def read_kernel(
    features,
    codes,
    table,
    lse,
    found,
    N,
    K,
    W,
    D: constexpr,
    ROWS: constexpr,
    CODES: constexpr,
    COLUMNS: constexpr,
    WIDTH: constexpr,
):
    """p @ table, a block of its columns."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    ws = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, K, CODES):
        ks = start + tl.arange(0, CODES)
        scores = _scores(features, codes, rows, ks, N, K, D, WIDTH)
        t = _load(table, ks, ws, K, W)
        p = _softmax(scores, lse, rows, N).to(t.dtype)
        total = _product(p, t, total)
    _store(found, rows, ws, N, W, total)


# ---- code kernel ---------------------------------------------------------------------------------


@triton.jit
def sum_kernel(features, codes, lse, found, part_rows, N, K, D: constexpr, WIDTH: constexpr):
    """(parts, K): the sum of p over the rows of each part."""
    ks = tl.program_id(0) * CODES + tl.arange(0, CODES)
    begin = tl.program_id(1) * part_rows
    sum_C = tl.zeros((CODES,), tl.float32)
    for start in range(begin, tl.minimum(begin + part_rows, N), ROWS):
        rows = start + tl.arange(0, ROWS)
        scores = _scores(features, codes, rows, ks, N, K, D, WIDTH)
        sum_C += tl.sum(_softmax(scores, lse, rows, N), 0)
    tl.store(found + tl.program_id(1).to(tl.int64) * K + ks, sum_C, mask=ks < K)


# ---- gradient kernels ----------------------------------------------------------------------------


@triton.jit
def entropy_gradient_kernel(
    features,
    codes,
    lse,
    entropy,
    grad_rows,
    grad_codes,
    expected,
    rest,
    d_scores,
    N,
    K,
    D: constexpr,
    WIDTH: constexpr,
):
    """dS of a window of K codes."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    ks = tl.program_id(1) * CODES + tl.arange(0, CODES)
    scores = _scores(features, codes, rows, ks, N, K, D, WIDTH)
    lse_R = tl.load(lse + rows, mask=rows < N, other=0.0)
    rest_R = tl.load(rest + rows, mask=rows < N, other=0.0)
    entropy_R = tl.load(entropy + rows, mask=rows < N, other=0.0)
    grad_R = tl.load(grad_rows + rows, mask=rows < N, other=0.0)
    expected_R = tl.load(expected + rows, mask=rows < N, other=0.0)
    grad_C = tl.load(grad_codes + ks, mask=ks < K, other=0.0)
    log_p = scores - lse_R[:, None] - rest_R[:, None]
    # in a row, p (log_p + entropy) has the sum 0: an error of log_p would come in whole
    d_entropy = -grad_R[:, None] * (log_p + entropy_R[:, None])
    d_mean = (grad_C[None, :] - expected_R[:, None]) / N
    _store(d_scores, rows, ks, N, K, tl.exp(log_p) * (d_entropy + d_mean))


@triton.jit
def read_gradient_kernel(
    features,
    codes,
    table,
    lse,
    inner,
    grad,
    d_scores,
    weights,
    N,
    K,
    W,
    D: constexpr,
    ROWS: constexpr,
    CODES: constexpr,
    STEP: constexpr,
    WIDTH: constexpr,
    WEIGHTS: constexpr,
):
    """dS of a window of K codes, and where WEIGHTS its p, in the table's number format."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    ks = tl.program_id(1) * CODES + tl.arange(0, CODES)
    d_p = tl.zeros((ROWS, CODES), tl.float32)
    for start in range(0, W, STEP):
        ws = start + tl.arange(0, STEP)
        g = _load(grad, rows, ws, N, W)
        t = _load(table, ks, ws, K, W)
        d_p = _product(g, tl.trans(t), d_p)
    scores = _scores(features, codes, rows, ks, N, K, D, WIDTH)
    p = _softmax(scores, lse, rows, N)
    inner_R = tl.load(inner + rows, mask=rows < N, other=0.0)
    _store(d_scores, rows, ks, N, K, p * (d_p - inner_R[:, None]))
    if WEIGHTS:
        _store(weights, rows, ks, N, K, p)
