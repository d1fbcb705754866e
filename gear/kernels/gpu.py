"""The assignment on a GPU, by Triton kernels: the functions of chunked.py, with equal arguments.

The programs (gear/kernels/programs.py) compute a tile of the products of features and codes, reduce
it and forget it. How the work is divided:

- what is per row (argmax, statistics, entropy, a read-out): a program has some rows, and for a
  read-out some columns of the table, for each of which it computes the products again
- the mean of p over rows: a program has some codes. Few codes make few programs; the rows are then
  divided into parts, whose sums torch.sum adds
- gradients: dS of a chunk of rows (CHUNK numbers, or CHUNK_ROWS rows) is written to memory, and
  torch multiplies it by codes and by features

The bits are the same at each run: sizes depend on shapes and number formats alone, and torch's
products have a fixed order (gear/runtime/device.py). No GPU has run this yet.

Shapes: N rows, K codes, D code width, W width of a table; R rows of a chunk, P parts.
"""

import math

import torch
import triton

from gear.kernels import programs

# Sizes of tiles, chosen by the compiler's report for sm_90 and not by time.
ROWS, CODES, WARPS = programs.ROWS.value, programs.CODES.value, 4  # of products alone
# Of a read-out: many rows share a load of the table, many columns share the computation of p
READ_16 = {"ROWS": 128, "CODES": 64, "COLUMNS": 256, "num_warps": 8, "num_stages": 3}
READ_32 = {"ROWS": 64, "CODES": 32, "COLUMNS": 128, "num_warps": 8, "num_stages": 2}
READ = {torch.bfloat16: READ_16, torch.float16: READ_16, torch.float32: READ_32}
# Of its gradient: the tile of a matrix product, STEP columns of the table at a time
GRADIENT_16 = {"ROWS": 128, "CODES": 128, "STEP": 64, "num_warps": 8, "num_stages": 3}
GRADIENT_32 = {"ROWS": 64, "CODES": 128, "STEP": 16, "num_warps": 8, "num_stages": 2}
GRADIENT = {torch.bfloat16: GRADIENT_16, torch.float16: GRADIENT_16, torch.float32: GRADIENT_32}
CHUNK_ROWS = 128  # a chunk has whole tiles of each kind
PROGRAMS = 256  # of the mean, if there are rows enough: about two for each processor
CHUNK = 2**22  # R K: two buffers of 16 MiB, which fit an H100's cache of 50 MB


# ---- what is called from outside -----------------------------------------------------------------


def argmax(features_ND, codes_KD):
    """(N,) int64: the code with the largest S; of equal ones the lowest index."""
    features_ND, codes_KD = _ready(features_ND, codes_KD)
    found_N = features_ND.new_empty(len(features_ND), dtype=torch.int64)
    _per_row(programs.argmax_kernel, features_ND, codes_KD, found_N)
    return found_N


def entropy(features_ND, codes_KD, scale):
    """(statistics (2, N), entropy (N,), mean (K,)) of p = softmax(S).

    The entropy of each row, in nats; the mean of p over the rows."""
    features_ND, codes_KD = _ready(features_ND, codes_KD)
    statistics_2N, bits_N = _statistics(features_ND, codes_KD, scale)
    mean_K = _mean(features_ND, codes_KD, scale, statistics_2N)
    return statistics_2N, bits_N * math.log(2), mean_K


def entropy_grad(features_ND, codes_KD, scale, statistics_2N, entropy_N, grad_N, grad_K):
    """(of features (N, D), of codes (K, D)): the gradients of
    sum(grad_N entropy_N) + sum(grad_K mean_K)."""
    features_ND, codes_KD = _ready(features_ND, codes_KD)
    grad_K = grad_K.contiguous() / len(features_ND)
    expected_N, factor = torch.empty_like(entropy_N), scale / math.log(2)
    tensors = features_ND, codes_KD, statistics_2N, grad_K, expected_N
    _per_row(programs.expectation_kernel, *tensors, factor=factor)
    # dS = p (-grad_N (log p + entropy) + grad_K - <p, grad_K>)
    constant_N, slope_N = grad_N * entropy_N + expected_N, -math.log(2) * grad_N
    gradient = _Gradient(features_ND, codes_KD)
    buffer = _buffer(features_ND, codes_KD)
    for part in _parts(features_ND, codes_KD):
        features_RD, statistics_2R = features_ND[part], statistics_2N[:, part].contiguous()
        d_scores_RK = buffer[: len(features_RD)]
        tensors = features_RD, codes_KD, statistics_2R, slope_N[part], grad_K, constant_N[part]
        grid = _grid(features_RD, ROWS, codes_KD, CODES)
        options = {"factor": factor, "num_warps": WARPS}
        _run(programs.entropy_gradient_kernel, grid, *tensors, d_scores_RK, **options)
        gradient.add(part, d_scores_RK)
    return gradient.scaled(scale)


def read(features_ND, codes_KD, scale, table_KW):
    """(statistics (2, N), u (N, W)): u = softmax(S) E, in the table's dtype."""
    features_ND, codes_KD, table_KW = _ready(features_ND, codes_KD, table_KW)
    statistics_2N, _ = _statistics(features_ND, codes_KD, scale)
    u_NW, tile = table_KW.new_empty(len(features_ND), table_KW.shape[1]), READ[table_KW.dtype]
    grid = _grid(features_ND, tile["ROWS"], table_KW.T, tile["COLUMNS"])
    options = {"W": table_KW.shape[1], "factor": scale / math.log(2), **tile}
    tensors = features_ND, codes_KD, table_KW, statistics_2N, u_NW
    _run(programs.read_kernel, grid, *tensors, **options)
    return statistics_2N, u_NW


def read_grad(features_ND, codes_KD, scale, table_KW, statistics_2N, grad_NW, wants_table):
    """(of features (N, D), of codes (K, D), of the table (K, W) or None): the gradients of
    sum(grad_NW u)."""
    features_ND, codes_KD, table_KW = _ready(features_ND, codes_KD, table_KW)
    grad_NW, tile = grad_NW.to(table_KW.dtype).contiguous(), GRADIENT[table_KW.dtype]
    gradient = _Gradient(features_ND, codes_KD)
    of_table = torch.zeros_like(table_KW, dtype=torch.float32) if wants_table else None
    read, p = (_buffer(features_ND, codes_KD) for _ in range(2))
    for part in _parts(features_ND, codes_KD):
        features_RD, statistics_2R = features_ND[part], statistics_2N[:, part].contiguous()
        read_RK, p_RK = read[: len(features_RD)], p[: len(features_RD)]
        tensors = features_RD, codes_KD, table_KW, statistics_2R, grad_NW[part], read_RK, p_RK
        grid = _grid(features_RD, tile["ROWS"], codes_KD, tile["CODES"])
        options = {"W": table_KW.shape[1], "factor": scale / math.log(2), **tile}
        _run(programs.read_gradient_kernel, grid, *tensors, **options)
        if wants_table:
            of_table += p_RK.to(table_KW.dtype).T @ grad_NW[part]
        # dS = p (grad E^T) - p <p, grad E^T>. The second term is summed from the first, so that
        # they cancel where p is 1
        gradient.add(part, read_RK.sub_(p_RK.mul_(read_RK.sum(1, keepdim=True))))
    return *gradient.scaled(scale), of_table.to(table_KW.dtype) if wants_table else None


# ---- parts of them -------------------------------------------------------------------------------


def _statistics(features_ND, codes_KD, scale):
    """(statistics (2, N), entropy in bits (N,))"""
    N = len(features_ND)
    statistics_2N, bits_N = features_ND.new_empty(2, N), features_ND.new_empty(N)
    tensors = features_ND, codes_KD, statistics_2N, bits_N
    _per_row(programs.statistics_kernel, *tensors, factor=scale / math.log(2))
    return statistics_2N, bits_N


def _mean(features_ND, codes_KD, scale, statistics_2N):
    """The mean of p over the rows, (K,)."""
    row_blocks, blocks = _grid(features_ND, ROWS, codes_KD, CODES)
    part_rows = ROWS * max(1, triton.cdiv(row_blocks, triton.cdiv(PROGRAMS, blocks)))
    parts = triton.cdiv(len(features_ND), part_rows)
    sums_PK = features_ND.new_empty(parts, len(codes_KD))
    tensors = features_ND, codes_KD, statistics_2N, sums_PK
    options = {"part_rows": part_rows, "factor": scale / math.log(2), "num_warps": WARPS}
    _run(programs.sum_kernel, (blocks, parts), *tensors, **options)
    return sums_PK.sum(0) / len(features_ND)


class _Gradient:
    """The gradients of features and codes, a chunk of dS at a time."""

    def __init__(self, features_ND, codes_KD):
        self.features_ND, self.codes_KD = features_ND, codes_KD
        self.of_features_ND = torch.empty_like(features_ND)
        self.of_codes_KD = torch.zeros_like(codes_KD)

    def add(self, part, grad_RK):
        torch.mm(grad_RK, self.codes_KD, out=self.of_features_ND[part])
        self.of_codes_KD.addmm_(grad_RK.T, self.features_ND[part])

    def scaled(self, scale):
        return self.of_features_ND.mul_(scale), self.of_codes_KD.mul_(scale)


def _rows(codes_KD):
    return max(1, CHUNK // (len(codes_KD) * CHUNK_ROWS)) * CHUNK_ROWS


def _parts(features_ND, codes_KD):
    """Slices of the rows, one for each chunk."""
    N, rows = len(features_ND), _rows(codes_KD)
    return [slice(begin, min(begin + rows, N)) for begin in range(0, N, rows)]


def _buffer(features_ND, codes_KD):
    return features_ND.new_empty(min(_rows(codes_KD), len(features_ND)), len(codes_KD))


# ---- launches ------------------------------------------------------------------------------------


def _ready(features_ND, codes_KD, *tables):
    """The same without gaps, as the kernels read them. TypeError: another number format."""
    scored = features_ND.dtype == codes_KD.dtype == torch.float32
    if not scored or any(table.dtype not in READ for table in tables):
        dtypes = ", ".join(str(x.dtype) for x in (features_ND, codes_KD, *tables))
        raise TypeError(
            "the kernels take features and codes of float32 and a table of float32, bfloat16 or "
            f"float16; these are {dtypes}."
        )
    return [x.contiguous() for x in (features_ND, codes_KD, *tables)]


def _grid(left, rows, right, columns):
    """Programs for the tiles of a matrix (len(left), len(right))."""
    return triton.cdiv(len(left), rows), triton.cdiv(len(right), columns)


def _per_row(kernel, features_ND, *tensors, **options):
    grid = (triton.cdiv(len(features_ND), ROWS),)
    _run(kernel, grid, features_ND, *tensors, num_warps=WARPS, **options)


def _run(kernel, grid, features_ND, codes_KD, *tensors, **options):
    """Run a kernel on the GPU that holds the features. Without rows or columns it has no program.

    Of the code width 16 is the least that tl.dot multiplies at a time; several steps of 32 need too
    many registers."""
    (N, D), K = features_ND.shape, len(codes_KD)
    if 0 not in grid:
        options |= {"N": N, "K": K, "D": D, "WIDTH": 32 if 16 < D <= 32 else 16}
        with torch.cuda.device_of(features_ND):
            kernel[grid](features_ND, codes_KD, *tensors, **options)
