"""The reductions of an assignment on a GPU, without its N x K scores in memory.

S = features_ND @ codes_KD.T are the scores and p = softmax(S) in each row, both in float32. The
programs (gear/kernels/programs.py) compute a tile of S, reduce it and forget it. How the work is
divided:

- what is per row (argmax, log-sum-exp, entropy, a read-out): a program has some rows, and for a
  read-out some columns of the table, for each of which it computes the scores again
- the mean of p over rows: a program has some codes. Few codes make few programs; the rows are then
  divided into parts, whose sums torch.sum adds
- gradients: dS of a window of codes, (N, window), is written to memory, at most WINDOW numbers
  (more only if N > WINDOW / CODES), and torch multiplies it by codes and by features. So each tile
  of S and of grad @ table.T is computed once, with any code width. Windows are of codes and not of
  rows, because the gradients of codes and table are then one product each; only that of the
  features, N x D, is added up over windows

The bits are the same at each run: sizes depend on shapes and number formats alone, and torch's
products have a fixed order (gear/runtime/device.py).

Shapes: N rows, K codes, D code width, W width of a table; C codes of a window, P parts.
"""

import torch
import triton

from gear.kernels import programs

# Sizes of tiles, the largest that fit the registers of a program by the compiler's report for sm_90
# (up to 330 bytes of a thread do not at 16 < D <= 32, 8 otherwise). They were not tuned by time.
ROWS, CODES, WARPS = programs.ROWS.value, programs.CODES.value, 4  # of scores alone
# Of a read-out: many rows share a load of the table, many columns share the computation of scores
READ = {
    torch.bfloat16: {"ROWS": 128, "CODES": 64, "COLUMNS": 256, "num_warps": 8, "num_stages": 3},
    torch.float32: {"ROWS": 64, "CODES": 32, "COLUMNS": 128, "num_warps": 8, "num_stages": 2},
}
# Of its gradient: the tile of a matrix product, STEP columns of the table at a time
GRADIENT = {
    torch.bfloat16: {"ROWS": 128, "CODES": 128, "STEP": 64, "num_warps": 8, "num_stages": 3},
    torch.float32: {"ROWS": 64, "CODES": 128, "STEP": 16, "num_warps": 8, "num_stages": 2},
}
PROGRAMS = 256  # of the mean, if there are rows enough: about two for each processor
WINDOW = 2**23  # numbers of dS at a time: 32 MiB, which fit the GPU's cache of 50 MB


# ---- launches ------------------------------------------------------------------------------------


def _contiguous(*tensors):
    """Without gaps, as the kernels read them."""
    return tuple(x.detach().contiguous() for x in tensors)


def _grid(height, rows, width, columns):
    """Programs for the tiles of a matrix (height, width)."""
    return triton.cdiv(height, rows), triton.cdiv(width, columns)


def _widths(D):
    """The code width for a kernel, and how much of it is multiplied at a time.

    16 is the least that tl.dot takes; several steps of 32 need too many registers."""
    return {"D": D, "WIDTH": 32 if 16 < D <= 32 else 16}


def _per_row(kernel, features_ND, codes_KD, *tensors):
    """Run a row kernel that reads no table."""
    (N, D), K = features_ND.shape, len(codes_KD)
    grid = (triton.cdiv(N, ROWS),)
    kernel[grid](features_ND, codes_KD, *tensors, N, K, **_widths(D), num_warps=WARPS)


def _mean(features_ND, codes_KD, lse_N):
    """The mean of p over rows, (K,)."""
    (N, D), K = features_ND.shape, len(codes_KD)
    row_blocks, blocks = _grid(N, ROWS, K, CODES)
    part_rows = triton.cdiv(row_blocks, triton.cdiv(PROGRAMS, blocks)) * ROWS
    parts = triton.cdiv(N, part_rows)
    sums_PK = features_ND.new_empty(parts, K)
    tensors = features_ND, codes_KD, lse_N, sums_PK
    programs.sum_kernel[blocks, parts](*tensors, part_rows, N, K, **_widths(D), num_warps=WARPS)
    return sums_PK.sum(0) / N


def _windows(N, K):
    """Slices of the codes, each of whole tiles."""
    size = max(1, WINDOW // (N * CODES)) * CODES
    return [slice(start, min(start + size, K)) for start in range(0, K, size)]


def _gradients(features_ND, codes_KD, fill):
    """(dfeatures_ND, dcodes_KD) from dS. fill(window, dS of it): fills a tensor (N, window)."""
    N, windows = len(features_ND), _windows(len(features_ND), len(codes_KD))
    d_features_ND, d_codes_KD = torch.zeros_like(features_ND), torch.empty_like(codes_KD)
    buffer = features_ND.new_empty(N * len(codes_KD[windows[0]]))
    for window in windows:
        codes_CD = codes_KD[window]
        d_scores_NC = buffer[: N * len(codes_CD)].view(N, -1)
        fill(window, d_scores_NC)
        # autocast leaves these two forms in float32
        d_features_ND.addmm_(d_scores_NC, codes_CD)
        torch.mm(d_scores_NC.T, features_ND, out=d_codes_KD[window])
    return d_features_ND, d_codes_KD


# ---- what is called from outside -----------------------------------------------------------------


def argmax(features_ND, codes_KD):
    """(N,) int64: the code with the highest score; the lowest index among equal scores."""
    features_ND, codes_KD = _contiguous(features_ND, codes_KD)
    found_N = features_ND.new_empty(len(features_ND), dtype=torch.int64)
    _per_row(programs.argmax_kernel, features_ND, codes_KD, found_N)
    return found_N


def entropy(features_ND, codes_KD):
    """(log-sum-exp of S in each row, entropy of p in nats of each row, mean of p over rows)."""
    features_ND, codes_KD = _contiguous(features_ND, codes_KD)
    lse_N, entropy_N = (features_ND.new_empty(len(features_ND)) for _ in range(2))
    _per_row(programs.statistics_kernel, features_ND, codes_KD, lse_N, entropy_N)
    return lse_N, entropy_N, _mean(features_ND, codes_KD, lse_N)


@torch.no_grad()
def entropy_grad(features_ND, codes_KD, lse_N, entropy_N, grad_N, grad_K):
    """(dfeatures_ND, dcodes_KD) of sum(grad_N * entropy_N) + sum(grad_K * mean_K).

    dS = p (-grad_N (S - lse_N + entropy_N) + (grad_K - sum_k p_k grad_k) / N)."""
    features_ND, codes_KD, lse_N = _contiguous(features_ND, codes_KD, lse_N)
    entropy_N, grad_N, grad_K = _contiguous(entropy_N, grad_N, grad_K)
    N, D = features_ND.shape
    expected_N, rest_N = torch.empty_like(lse_N), torch.empty_like(lse_N)
    _per_row(programs.expectation_kernel, features_ND, codes_KD, lse_N, grad_K, expected_N, rest_N)

    def fill(window, d_scores_NC):
        K = d_scores_NC.shape[1]
        tensors = lse_N, entropy_N, grad_N, grad_K[window], expected_N, rest_N, d_scores_NC
        programs.entropy_gradient_kernel[_grid(N, ROWS, K, CODES)](
            features_ND, codes_KD[window], *tensors, N, K, **_widths(D), num_warps=WARPS
        )

    return _gradients(features_ND, codes_KD, fill)


def read(features_ND, codes_KD, table_KW):
    """(u = p @ table in the table's number format, log-sum-exp of S in each row).

    p is rounded to the table's format; sums are in float32."""
    features_ND, codes_KD, table_KW = _contiguous(features_ND, codes_KD, table_KW)
    (N, D), (K, W) = features_ND.shape, table_KW.shape
    lse_N, entropy_N = (features_ND.new_empty(N) for _ in range(2))
    _per_row(programs.statistics_kernel, features_ND, codes_KD, lse_N, entropy_N)
    u_NW, tile = table_KW.new_empty(N, W), READ[table_KW.dtype]
    grid = _grid(N, tile["ROWS"], W, tile["COLUMNS"])
    tensors = features_ND, codes_KD, table_KW, lse_N, u_NW
    programs.read_kernel[grid](*tensors, N, K, W, **_widths(D), **tile)
    return u_NW, lse_N


@torch.no_grad()
def read_grad(features_ND, codes_KD, table_KW, lse_N, inner_N, grad_NW, wants_table):
    """(dfeatures_ND, dcodes_KD, dtable_KW or None) of sum(grad_NW * u).

    inner_N: sum_w grad u in float32. dS = p (grad @ table.T - inner); dtable = p.T @ grad."""
    features_ND, codes_KD, table_KW = _contiguous(features_ND, codes_KD, table_KW)
    lse_N, inner_N, grad_NW = _contiguous(lse_N, inner_N, grad_NW.to(table_KW.dtype))
    (N, D), W = features_ND.shape, table_KW.shape[1]
    tile = GRADIENT[table_KW.dtype]
    d_table_KW = torch.empty_like(table_KW) if wants_table else None

    def fill(window, d_scores_NC):
        K = d_scores_NC.shape[1]
        # if not wanted, nothing is written to the last of the tensors
        p_NC = table_KW.new_empty(N, K) if wants_table else d_scores_NC
        tensors = codes_KD[window], table_KW[window], lse_N, inner_N, grad_NW, d_scores_NC, p_NC
        grid = _grid(N, tile["ROWS"], K, tile["CODES"])
        options = {"WEIGHTS": wants_table, **_widths(D), **tile}
        programs.read_gradient_kernel[grid](features_ND, *tensors, N, K, W, **options)
        if wants_table:
            torch.mm(p_NC.T, grad_NW, out=d_table_KW[window])

    return *_gradients(features_ND, codes_KD, fill), d_table_KW
