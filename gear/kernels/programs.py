"""The programs of gear/kernels/gpu.py for a GPU, in Triton.

Each computes tiles of the products of features and codes in float32, and of p = softmax(S), where
S is the scale times the products:

- a row kernel has a block of rows and loops over all codes
- a code kernel has a block of codes and loops over some rows
- a gradient kernel has one tile

None adds to what another program writes, so the bits are the same at each run. The products are of
float32 numbers ("ieee"), not of TF32, which would move rows to neighbouring codes. All sums are in
float32. Powers are of 2, and the highest product of a row is subtracted before the scale, as in
chunked.py. `factor` is the scale divided by ln 2, so that S is in bits.

Shapes: N rows, K codes, D code width, W width of a table; R rows and C codes of a tile.
"""

import os

import triton
import triton.language as tl
from triton.language import constexpr

ROWS = constexpr(32)  # of a tile of products: N = 8192 gives 256 programs, about two a processor
CODES = constexpr(128)  # of such a tile: the most for which no program lacks registers at D = 8
LOWEST = constexpr(-1e30)  # the product of no code; finite up to a scale of 1e8: no NaN
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
def _dot(left, right, total):
    """total + left @ right, summed in float32."""
    if UPCAST:
        left = left.to(tl.float32)
        right = right.to(tl.float32)
    return tl.dot(left, right, total, input_precision="ieee")


@triton.jit
def _products(features, codes, rows, ks, N, K, D: constexpr, WIDTH: constexpr):
    """A tile of features codes^T; LOWEST where there is no code.

    D is filled up with zeros to whole steps of WIDTH."""
    products = tl.zeros((rows.shape[0], ks.shape[0]), tl.float32)
    for start in range(0, D, WIDTH):
        ds = start + tl.arange(0, WIDTH)
        f = _load(features, rows, ds, N, D)
        c = _load(codes, ks, ds, K, D)
        products = tl.dot(f, tl.trans(c), products, input_precision="ieee")
    return tl.where(ks[None, :] < K, products, LOWEST)


@triton.jit
def _log2_p(products, statistics, rows, N, factor):
    """log2 of p of a tile of products; p is 0 where there is no row or no code.

    statistics (2, N): see statistics_kernel."""
    highest_R = tl.load(statistics + rows, mask=rows < N, other=0.0)
    log2_total_R = tl.load(statistics + N + rows, mask=rows < N, other=-LOWEST)
    return (products - highest_R[:, None]) * factor - log2_total_R[:, None]


# ---- row kernels ---------------------------------------------------------------------------------


@triton.jit
def argmax_kernel(features, codes, found, N, K, D: constexpr, WIDTH: constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    best_R = tl.full((ROWS,), float("-inf"), tl.float32)
    index_R = tl.zeros((ROWS,), tl.int32)
    for start in range(0, K, CODES):
        ks = start + tl.arange(0, CODES)
        products = _products(features, codes, rows, ks, N, K, D, WIDTH)
        top_R = tl.max(products, 1)
        first_R = tl.min(tl.where(products == top_R[:, None], ks[None, :], K), 1)
        better_R = top_R > best_R  # an equal product has a higher index
        best_R = tl.where(better_R, top_R, best_R)
        index_R = tl.where(better_R, first_R, index_R)
    tl.store(found + rows, index_R.to(tl.int64), mask=rows < N)


@triton.jit
def statistics_kernel(
    features, codes, statistics, entropy, N, K, factor, D: constexpr, WIDTH: constexpr
):
    """statistics (2, N): the highest product and log2 of the sum of the powers below; and the
    entropy in bits.

    From the sums of e = 2^s and of e s, where s = factor (product - highest)."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    highest_R = tl.full((ROWS,), LOWEST, tl.float32)
    sum_R = tl.zeros((ROWS,), tl.float32)
    weighted_R = tl.zeros((ROWS,), tl.float32)
    for start in range(0, K, CODES):
        ks = start + tl.arange(0, CODES)
        products = _products(features, codes, rows, ks, N, K, D, WIDTH)
        higher_R = tl.maximum(highest_R, tl.max(products, 1))
        # the sums so far are relative to the highest product so far
        change_R = (highest_R - higher_R) * factor
        shrink_R = tl.exp2(change_R)
        s = (products - higher_R[:, None]) * factor
        e = tl.exp2(s)
        weighted_R = shrink_R * (weighted_R + change_R * sum_R) + tl.sum(e * s, 1)
        sum_R = shrink_R * sum_R + tl.sum(e, 1)
        highest_R = higher_R
    log2_total_R = tl.log2(sum_R)
    tl.store(statistics + rows, highest_R, mask=rows < N)
    tl.store(statistics + N + rows, log2_total_R, mask=rows < N)
    tl.store(entropy + rows, log2_total_R - weighted_R / sum_R, mask=rows < N)


@triton.jit
def expectation_kernel(
    features,
    codes,
    statistics,
    values,
    expected,
    N,
    K,
    factor,
    D: constexpr,
    WIDTH: constexpr,
):
    """sum_k p_k values_k of each row."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    sum_R = tl.zeros((ROWS,), tl.float32)
    for start in range(0, K, CODES):
        ks = start + tl.arange(0, CODES)
        products = _products(features, codes, rows, ks, N, K, D, WIDTH)
        p = tl.exp2(_log2_p(products, statistics, rows, N, factor))
        value_C = tl.load(values + ks, mask=ks < K, other=0.0)
        sum_R += tl.sum(p * value_C[None, :], 1)
    tl.store(expected + rows, sum_R, mask=rows < N)


@triton.jit
def read_kernel(
    features,
    codes,
    table,
    statistics,
    found,
    N,
    K,
    W,
    factor,
    D: constexpr,
    ROWS: constexpr,
    CODES: constexpr,
    COLUMNS: constexpr,
    WIDTH: constexpr,
):
    """p @ table, a block of its columns; p is rounded to the table's number format."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    ws = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, K, CODES):
        ks = start + tl.arange(0, CODES)
        products = _products(features, codes, rows, ks, N, K, D, WIDTH)
        t = _load(table, ks, ws, K, W)
        p = tl.exp2(_log2_p(products, statistics, rows, N, factor)).to(t.dtype)
        total = _dot(p, t, total)
    _store(found, rows, ws, N, W, total)


# ---- code kernel ---------------------------------------------------------------------------------


@triton.jit
def sum_kernel(
    features, codes, statistics, found, part_rows, N, K, factor, D: constexpr, WIDTH: constexpr
):
    """(parts, K): the sum of p over the rows of each part."""
    ks = tl.program_id(0) * CODES + tl.arange(0, CODES)
    begin = tl.program_id(1) * part_rows
    sum_C = tl.zeros((CODES,), tl.float32)
    for start in range(begin, tl.minimum(begin + part_rows, N), ROWS):
        rows = start + tl.arange(0, ROWS)
        products = _products(features, codes, rows, ks, N, K, D, WIDTH)
        sum_C += tl.sum(tl.exp2(_log2_p(products, statistics, rows, N, factor)), 0)
    tl.store(found + tl.program_id(1).to(tl.int64) * K + ks, sum_C, mask=ks < K)


# ---- gradient kernels ----------------------------------------------------------------------------


@triton.jit
def entropy_gradient_kernel(
    features,
    codes,
    statistics,
    slope_rows,
    slope_codes,
    constant,
    d_scores,
    N,
    K,
    factor,
    D: constexpr,
    WIDTH: constexpr,
):
    """dS = p (slope_rows log2 p + slope_codes - constant)."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    ks = tl.program_id(1) * CODES + tl.arange(0, CODES)
    products = _products(features, codes, rows, ks, N, K, D, WIDTH)
    log2_p = _log2_p(products, statistics, rows, N, factor)
    slope_R = tl.load(slope_rows + rows, mask=rows < N, other=0.0)
    constant_R = tl.load(constant + rows, mask=rows < N, other=0.0)
    slope_C = tl.load(slope_codes + ks, mask=ks < K, other=0.0)
    slope = slope_R[:, None] * log2_p + slope_C[None, :] - constant_R[:, None]
    _store(d_scores, rows, ks, N, K, tl.exp2(log2_p) * slope)


@triton.jit
def read_gradient_kernel(
    features,
    codes,
    table,
    statistics,
    grad,
    found,
    weights,
    N,
    K,
    W,
    factor,
    D: constexpr,
    ROWS: constexpr,
    CODES: constexpr,
    STEP: constexpr,
    WIDTH: constexpr,
):
    """found = p (grad table^T), in float32, and weights = p."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    ks = tl.program_id(1) * CODES + tl.arange(0, CODES)
    d_p = tl.zeros((ROWS, CODES), tl.float32)
    for start in range(0, W, STEP):
        ws = start + tl.arange(0, STEP)
        g = _load(grad, rows, ws, N, W)
        t = _load(table, ks, ws, K, W)
        d_p = _dot(g, tl.trans(t), d_p)
    products = _products(features, codes, rows, ks, N, K, D, WIDTH)
    p = tl.exp2(_log2_p(products, statistics, rows, N, factor))
    _store(found, rows, ks, N, K, p * d_p)
    _store(weights, rows, ks, N, K, p)
