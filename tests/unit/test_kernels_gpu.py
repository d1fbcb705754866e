"""The Triton kernels against formulas in float64, and what they promise besides.

Without a GPU they run in Triton's interpreter. It must be chosen before triton is imported, so all
cases run in one process of their own, this file as a script; each is one test here.

Shapes: N rows, K codes, D code width, W width of a table.
"""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode

FLOAT, BF16 = torch.float32, torch.bfloat16
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# float32 sums of at most 300 numbers; bfloat16 is rounded to 8 bits, here p and then the result
EXACT, ROUNDED = 1e-5, 2**-7
# a score of 400 has an error of 400 * 2**-24 = 2.4e-5 and more
LARGE = 2e-4


def kernels():
    from gear.kernels import gpu

    return gpu


def near(found, wanted, tolerance):
    """Assert on ||found - wanted|| / ||wanted||."""
    assert found.shape == wanted.shape and torch.isfinite(found).all()
    error = (found.double() - wanted).norm() / wanted.norm()
    assert error <= tolerance, f"{error.item():.2e} is more than {tolerance:.2e}"


def inputs(N, K, D, W=1, dtype=FLOAT, scale=1.0):
    """(features, codes, table), random; the scores have a standard deviation of scale * D**0.5."""
    features, codes = scale * torch.randn(N, D, device=DEVICE), torch.randn(K, D, device=DEVICE)
    return features, codes, torch.randn(K, W, device=DEVICE).to(dtype)


def doubles(*tensors):
    return [x.double().requires_grad_() for x in tensors]


def entropy_by_formula(features, codes, grad_N, grad_K):
    """(log-sum-exp, entropy, mean, two gradients)"""
    features, codes = doubles(features, codes)
    log_p = (features @ codes.T).log_softmax(-1)
    entropy, mean = -(log_p.exp() * log_p).sum(-1), log_p.exp().mean(0)
    loss = (grad_N * entropy).sum() + (grad_K * mean).sum()
    gradients = torch.autograd.grad(loss, (features, codes))
    return (features @ codes.T).logsumexp(-1), entropy, mean, *gradients


def entropy_by_kernels(features, codes, grad_N, grad_K):
    lse, entropy, mean = kernels().entropy(features, codes)
    gradients = kernels().entropy_grad(features, codes, lse, entropy, grad_N, grad_K)
    return lse, entropy, mean, *gradients


def read_by_formula(features, codes, table, grad):
    """(u, gradients of features, codes and table)"""
    features, codes, table = doubles(features, codes, table)
    u = (features @ codes.T).softmax(-1) @ table
    return u, *torch.autograd.grad((u * grad).sum(), (features, codes, table))


def read_by_kernels(features, codes, table, grad, wants_table=True):
    u, lse = kernels().read(features, codes, table)
    # of the exact u: what is compared is the kernel, not the rounding of its argument
    exact = (features.double() @ codes.double().T).softmax(-1) @ table.double()
    inner = (grad.double() * exact).sum(-1).float()
    assert u.dtype == table.dtype and lse.dtype == FLOAT
    return u, *kernels().read_grad(features, codes, table, lse, inner, grad, wants_table)


def check_entropy(features, codes, tolerance=EXACT):
    grads = torch.randn(len(features), device=DEVICE), torch.randn(len(codes), device=DEVICE)
    found = entropy_by_kernels(features, codes, *grads)
    for mine, wanted in zip(found, entropy_by_formula(features, codes, *grads), strict=True):
        assert mine.dtype == FLOAT
        near(mine, wanted, tolerance)


def check_read(features, codes, table, tolerance=EXACT):
    grad = torch.randn(len(features), table.shape[1], device=DEVICE).to(table.dtype)
    found = read_by_kernels(features, codes, table, grad)
    rounded = ROUNDED if table.dtype == BF16 else tolerance
    tolerances = rounded, tolerance, tolerance, rounded
    for mine, wanted, allowed in zip(
        found, read_by_formula(features, codes, table, grad), tolerances, strict=True
    ):
        near(mine, wanted, allowed)


# ---- values and gradients ------------------------------------------------------------------------


def argmax_of_any_shape():
    for N, K, D in ((70, 200, 8), (33, 129, 14), (40, 256, 64), (1, 3, 18), (130, 64, 2)):
        features, codes, _ = inputs(N, K, D)
        found = kernels().argmax(features, codes)
        assert found.dtype == torch.int64
        assert torch.equal(found, (features.double() @ codes.double().T).argmax(-1))


def entropy_of_any_shape():
    for N, K, D in ((70, 200, 8), (33, 129, 14), (40, 256, 64), (1, 3, 18)):
        check_entropy(*inputs(N, K, D, scale=2 / D**0.5)[:2])


def read_of_any_shape():
    for N, K, D, W in ((70, 200, 8, 40), (33, 129, 14, 300), (130, 64, 64, 40), (1, 3, 18, 5)):
        check_read(*inputs(N, K, D, W, scale=0.5))


def read_of_a_table_in_bfloat16():
    """The features' and codes' gradients are as exact as with float32: scores stay float32."""
    for N, K, D, W in ((70, 200, 8, 40), (33, 129, 14, 600), (130, 64, 64, 64)):
        check_read(*inputs(N, K, D, W, BF16, scale=0.5))


def scores_of_400():
    features, codes, table = inputs(70, 200, 8, 40)
    # the highest score of the first half is 400, that of the second -400 at best
    features *= 400 / (features @ codes.T).amax(-1, keepdim=True)
    features[35:] = -features[35:]
    scores = features @ codes.T
    assert scores.abs().max() >= 400 and (scores.softmax(-1).amax(-1) < 0.99).any()
    check_entropy(features, codes, LARGE)
    check_read(features, codes, table, LARGE)


def an_lse_of_200_is_rounded():
    """By 1e-5. The gradients of an entropy near 0 and of shares near to equal would show it."""
    codes = torch.nn.functional.normalize(torch.randn(200, 8, device=DEVICE), dim=-1)
    features = codes[torch.randint(200, (70,), device=DEVICE)] + 0.2 * torch.randn(70, 8).to(DEVICE)
    features = 200 * torch.nn.functional.normalize(features, dim=-1)
    ones = torch.ones(70, device=DEVICE), torch.ones(200, device=DEVICE)
    shares = -9 + torch.randn(200, device=DEVICE)
    for grads in ((ones[0], 0 * ones[1]), (0 * ones[0], shares)):
        found, wanted = (
            f(features, codes, *grads) for f in (entropy_by_kernels, entropy_by_formula)
        )
        for mine, other in zip(found[3:], wanted[3:], strict=True):
            near(mine, other, 2 * EXACT)


def scores_all_far_below_zero():
    """The padding of K and of D has no part in a sum."""
    features, codes, table = inputs(20, 130, 8, 5)
    features[:, 0], codes[:, 0] = -20.0, 20.0
    assert (features @ codes.T).max() < -350
    check_entropy(features, codes, LARGE)
    check_read(features, codes, table, LARGE)
    assert (kernels().entropy(features, codes)[0] < -350).all()


# ---- equal and rare codes ------------------------------------------------------------------------


def the_lowest_of_equal_codes():
    """In one block of codes, in another one, and where all scores are the same."""
    features, codes, _ = inputs(70, 300, 8)
    codes[5], codes[50], codes[7], codes[280] = codes[40], codes[40], codes[290], codes[290]
    features = torch.cat([features, codes[40:41] * 9, codes[290:291] * 9, 0 * features[:1]])
    found = kernels().argmax(features, codes)
    assert found[-3:].tolist() == [5, 7, 0]
    assert not torch.isin(found, torch.tensor([40, 50, 280, 290], device=DEVICE)).any()
    check_entropy(features, codes)


def all_codes_are_equal():
    features, codes, _ = inputs(40, 200, 8)
    codes[:] = codes[0]
    _, entropy, mean = kernels().entropy(features, codes)
    even = torch.full((200,), 200.0, device=DEVICE).double()
    near(entropy, even[:40].log(), EXACT)
    near(mean, 1 / even, EXACT)
    assert kernels().argmax(features, codes).eq(0).all()


def a_code_of_probability_0():
    """exp underflows: its share is 0, it has no gradient, and nothing is NaN."""
    features, codes, table = inputs(40, 200, 8, 40)
    features[:, 0], codes[7, 0] = 12.0, -12.0
    grads = torch.randn(40, device=DEVICE), torch.randn(200, device=DEVICE)
    found = entropy_by_kernels(features, codes, *grads)
    assert found[2][7] == 0 and found[4][7].eq(0).all()
    check_entropy(features, codes, LARGE)
    grad = torch.randn(40, 40, device=DEVICE)
    _, _, d_codes, d_table = read_by_kernels(features, codes, table, grad)
    assert d_codes[7].eq(0).all() and d_table[7].eq(0).all()
    check_read(features, codes, table, LARGE)


# ---- what is promised besides --------------------------------------------------------------------


def _everything(features, codes, table):
    generator = torch.Generator().manual_seed(1)
    grads = [torch.randn(n, generator=generator).to(DEVICE) for n in (len(features), len(codes))]
    shape = len(features), table.shape[1]
    grad = torch.randn(shape, generator=generator).to(DEVICE, table.dtype)
    found = entropy_by_kernels(features, codes, *grads)
    return *found, *read_by_kernels(features, codes, table, grad), kernels().argmax(features, codes)


def equal_bits_on_two_runs():
    tensors = inputs(40, 150, 14, 300, BF16)
    for first, second in zip(_everything(*tensors), _everything(*tensors), strict=True):
        assert torch.equal(first, second)


def matrices_with_gaps():
    features, codes, table = inputs(40, 150, 8, 40)
    gaps = torch.randn(40, 16, device=DEVICE), codes.T.contiguous().T, table.T.contiguous().T
    gaps[0][:, ::2] = features
    with_gaps = _everything(gaps[0][:, ::2], *gaps[1:])
    for first, second in zip(_everything(features, codes, table), with_gaps, strict=True):
        assert torch.equal(first, second)


def autocast_changes_nothing():
    tensors = inputs(40, 150, 8, 40)
    plain = _everything(*tensors)
    with torch.autocast(DEVICE, BF16):
        for first, second in zip(plain, _everything(*tensors), strict=True):
            assert torch.equal(first, second)


def the_gradient_of_a_frozen_table_is_none():
    features, codes, table = inputs(20, 70, 8, 40)
    grad = torch.randn(20, 40, device=DEVICE)
    *wanted, _ = read_by_kernels(features, codes, table, grad)
    *found, nothing = read_by_kernels(features, codes, table, grad, wants_table=False)
    assert nothing is None
    assert all(torch.equal(x, y) for x, y in zip(wanted, found, strict=True))


class _Sizes(TorchFunctionMode):
    """The largest number of elements of a tensor that is made. The interpreter copies bytes."""

    largest = 0

    def __torch_function__(self, function, types, arguments=(), options=None):
        out = function(*arguments, **(options or {}))
        for x in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(x, torch.Tensor) and x.is_floating_point():
                self.largest = max(self.largest, x.numel())
        return out


def windows_and_parts():
    """Many windows of codes, and several blocks of rows in a part: the same, and no N x K."""
    features, codes, table = inputs(40, 400, 8, 30)
    gpu, grads = kernels(), (torch.randn(40, device=DEVICE), torch.randn(400, device=DEVICE))
    grad, wanted = torch.randn(40, 30, device=DEVICE), _everything(features, codes, table)
    gpu.WINDOW, gpu.PROGRAMS = 40 * 128, 2
    assert len(gpu._windows(40, 400)) == 4
    for mine, other in zip(_everything(features, codes, table), wanted, strict=True):
        near(mine, other.double(), EXACT)
    lse, entropy, _ = gpu.entropy(features, codes)
    with _Sizes() as sizes:
        gpu.entropy(features, codes), gpu.argmax(features, codes), gpu.read(features, codes, table)
        gpu.entropy_grad(features, codes, lse, entropy, *grads)
        gpu.read_grad(features, codes, table, lse, grads[0], grad, True)
    assert 400 * 30 <= sizes.largest < 400 * 40


CASES = [
    argmax_of_any_shape,
    entropy_of_any_shape,
    read_of_any_shape,
    read_of_a_table_in_bfloat16,
    scores_of_400,
    an_lse_of_200_is_rounded,
    scores_all_far_below_zero,
    the_lowest_of_equal_codes,
    all_codes_are_equal,
    a_code_of_probability_0,
    equal_bits_on_two_runs,
    matrices_with_gaps,
    autocast_changes_nothing,
    the_gradient_of_a_frozen_table_is_none,
    windows_and_parts,
]


# ---- in a process of their own -------------------------------------------------------------------


def outcome(case):
    """None, or what went wrong."""
    torch.manual_seed(0)
    try:
        case()
    except Exception:
        return traceback.format_exc()


@pytest.fixture(scope="module")
def outcomes():
    """{name of a case: None, or what went wrong}"""
    pytest.importorskip("triton")
    found = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    if DEVICE == "cpu":
        found |= {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__]
    run = subprocess.run(command, env=found, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [case.__name__ for case in CASES])
def test_kernels(outcomes, name):
    assert outcomes[name] is None, outcomes[name]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({case.__name__: outcome(case) for case in CASES}))
