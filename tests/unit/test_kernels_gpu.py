"""The Triton kernels against the chunked form, the plain one in float64, and what they promise.

Without a GPU they run in Triton's interpreter. It must be chosen before triton is imported, so all
cases run in one process of their own, this file as a script; each is one test here.

Shapes: N rows, K codes, D code width, W width of a table.
"""

import json
import math
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode

from gear import kernels
from gear.kernels import chunked

FLOAT, BF16, HALF = torch.float32, torch.bfloat16, torch.float16
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# float32 sums of at most 300 numbers; bfloat16 has 8 bits, here p and then the result. The
# interpreter cuts to bfloat16, which is twice the error of rounding as a GPU does it
EXACT, ROUNDED = 1e-5, {FLOAT: 1e-5, BF16: 2**-7, HALF: 2**-10}
# a score of 400 has an error of 400 * 2**-24 = 2.4e-5 and more
LARGE = 2e-4
# N a multiple of no tile, of both tiles, less than one; D filled up to 16, 32, 48
SHAPES = (70, 200, 8, 40), (33, 129, 14, 300), (128, 256, 32, 64), (40, 64, 34, 5), (1, 3, 18, 5)


def gpu():
    from gear.kernels import gpu

    return gpu


def near(found, wanted, tolerance):
    """Assert on ||found - wanted|| / ||wanted||."""
    assert found.shape == wanted.shape and torch.isfinite(found).all()
    error = (found.double() - wanted.double()).norm() / wanted.double().norm()
    assert error <= tolerance, f"{error.item():.2e} is more than {tolerance:.2e}"


def inputs(N, K, D, W=1, dtype=FLOAT):
    """(features, codes, table), random; the products have a standard deviation of D**0.5."""
    features, codes = torch.randn(N, D, device=DEVICE), torch.randn(K, D, device=DEVICE)
    return features, codes, torch.randn(K, W, device=DEVICE).to(dtype)


def gradients_for(features, codes, table):
    """(of the entropies, of the mean, of u)"""
    shapes = (len(features),), (len(codes),), (len(features), table.shape[1])
    of_entropy, of_mean, of_u = (torch.randn(shape, device=DEVICE) for shape in shapes)
    return of_entropy, of_mean, of_u.to(table.dtype)


ENTROPY = "entropy", "mean", "entropy: features", "entropy: codes"
READ = "u", "read: features", "read: codes", "table"


def formula(features, codes, scale, table, of_entropy, of_mean, of_u):
    """{name: tensor} of the plain form in float64."""
    features, codes, table = (x.double().requires_grad_() for x in (features, codes, table))
    log_p = (scale * features @ codes.T).log_softmax(-1)
    entropy, mean = -(log_p.exp() * log_p).sum(-1), log_p.exp().mean(0)
    loss, u = (of_entropy * entropy).sum() + (of_mean * mean).sum(), log_p.exp() @ table
    gradients = torch.autograd.grad(loss, (features, codes), retain_graph=True)
    read = u, *torch.autograd.grad((u * of_u).sum(), (features, codes, table))
    return dict(zip((*ENTROPY, *READ), (entropy, mean, *gradients, *read), strict=True))


def outputs(module, features, codes, scale, table, of_entropy, of_mean, of_u, wants_table=True):
    """{name: tensor} of a module of gear/kernels/."""
    statistics, *entropy = module.entropy(features, codes, scale)
    tensors = features, codes, scale, statistics, entropy[0], of_entropy, of_mean
    found = dict(zip(ENTROPY, (*entropy, *module.entropy_grad(*tensors)), strict=True))
    again, u = module.read(features, codes, scale, table)
    tensors = features, codes, scale, table, again, of_u, wants_table
    found |= dict(zip(READ, (u, *module.read_grad(*tensors)), strict=True))
    highest, log2_total = statistics
    return (
        found
        | {"argmax": module.argmax(features, codes), "again": again}
        | {"highest": highest, "log2 total": log2_total}
    )


def check(features, codes, table, scale=1.0, tolerance=EXACT):
    """Against float64; and the same types, highest products and totals as the chunked form."""
    grads = gradients_for(features, codes, table)
    found, other = (outputs(m, features, codes, scale, table, *grads) for m in (gpu(), chunked))
    wanted = formula(features, codes, scale, table, *grads)
    for name, right in wanted.items():
        rounded = name in ("u", "table")
        near(found[name], right, max(tolerance, ROUNDED[table.dtype]) if rounded else tolerance)
    assert {n: x.dtype for n, x in found.items()} == {n: x.dtype for n, x in other.items()}
    assert torch.equal(found["argmax"], other["argmax"])
    assert torch.equal(found["again"], torch.stack([found["highest"], found["log2 total"]]))
    near(found["highest"], other["highest"], EXACT)
    torch.testing.assert_close(found["log2 total"], other["log2 total"], atol=LARGE, rtol=EXACT)


# ---- values and gradients ------------------------------------------------------------------------


def any_shape():
    for N, K, D, W in SHAPES:
        check(*inputs(N, K, D, W), scale=2 / D**0.5)


def a_table_of_16_bits():
    """The features' and codes' gradients are as exact as with float32: scores stay float32."""
    check(*inputs(70, 200, 8, 40, BF16))
    check(*inputs(33, 129, 14, 600, BF16), scale=0.5)
    check(*inputs(33, 129, 14, 40, HALF), scale=0.5)


def scores_of_400():
    features, codes, table = inputs(70, 200, 8, 40)
    # the highest score of the first half is 400, that of the second -400 at best
    features *= 4 / (features @ codes.T).amax(-1, keepdim=True)
    features[35:] = -features[35:]
    scores = 100 * features @ codes.T
    assert scores.abs().max() >= 399 and (scores.softmax(-1).amax(-1) < 0.99).any()
    check(features, codes, table, 100, LARGE)


def scores_all_far_below_zero():
    """The padding of K and of D has no part in a sum."""
    features, codes, table = inputs(20, 130, 8, 5)
    features[:, 0], codes[:, 0] = -20.0, 20.0
    assert (features @ codes.T).max() < -350
    check(features, codes, table, tolerance=LARGE)


def shares_of_one():
    """Where a probability is 1, the terms of the gradients cancel: as near as the chunked form."""
    codes = torch.nn.functional.normalize(torch.randn(200, 8, device=DEVICE), dim=-1)
    features = codes[torch.randint(200, (70,), device=DEVICE)] + 0.1 * torch.randn(70, 8).to(DEVICE)
    features = torch.nn.functional.normalize(features, dim=-1)
    table, scale = torch.randn(200, 40, device=DEVICE), 200.0
    assert (scale * features @ codes.T).softmax(-1).amax(-1).median() > 0.999
    of_entropy, of_mean, of_u = gradients_for(features, codes, table)
    # terms that are large and nearly equal for all codes
    grads = of_entropy, 100 + of_mean, of_u
    arguments = features, codes, scale, table + 10, *grads
    found, other = (outputs(module, *arguments) for module in (gpu(), chunked))
    for name, right in formula(*arguments).items():
        mine, theirs = ((x[name].double() - right).norm() / right.norm() for x in (found, other))
        assert mine <= max(EXACT, 2 * theirs), f"{name}: {mine.item():.2e}, {theirs.item():.2e}"


# ---- equal and rare codes ------------------------------------------------------------------------


def the_lowest_of_equal_codes():
    """In one block of codes, in another one, and where all scores are the same."""
    features, codes, table = inputs(70, 300, 8, 5)
    codes[5], codes[50], codes[7], codes[280] = codes[40], codes[40], codes[290], codes[290]
    features = torch.cat([features, codes[40:41] * 9, codes[290:291] * 9, 0 * features[:1]])
    found = gpu().argmax(features, codes)
    assert found[-3:].tolist() == [5, 7, 0]
    assert not torch.isin(found, torch.tensor([40, 50, 280, 290], device=DEVICE)).any()
    check(features, codes, table)


def all_codes_are_equal():
    features, codes, _ = inputs(40, 200, 8)
    codes[:] = codes[0]
    _, entropy, mean = gpu().entropy(features, codes, 1.0)
    near(entropy, torch.full_like(entropy, math.log(200)), EXACT)
    near(mean, torch.full_like(mean, 1 / 200), EXACT)
    assert gpu().argmax(features, codes).eq(0).all()


def a_code_of_probability_0():
    """The power underflows: its share is 0, it has no gradient, and nothing is NaN."""
    features, codes, table = inputs(40, 200, 8, 40)
    features[:, 0], codes[7, 0] = 12.0, -12.0
    grads = gradients_for(features, codes, table)
    found = outputs(gpu(), features, codes, 1.0, table, *grads)
    assert found["mean"][7] == 0
    for name in ("entropy: codes", "read: codes", "table"):
        assert found[name][7].eq(0).all() and found[name].norm() > 0
    check(features, codes, table, tolerance=LARGE)


# ---- what is promised besides --------------------------------------------------------------------


def no_rows():
    features, codes, table = inputs(0, 40, 8, 5)
    grads = gradients_for(features, codes, table)
    found, other = (outputs(m, features, codes, 1.0, table, *grads) for m in (gpu(), chunked))
    assert found["mean"].isnan().all() and found["read: codes"].eq(0).all()
    for name, right in other.items():
        torch.testing.assert_close(found[name], right, equal_nan=True, rtol=0, atol=0)


def other_number_formats_are_refused():
    features, codes, table = inputs(5, 40, 8, 5)
    calls = (
        lambda: gpu().argmax(features.double(), codes.double()),
        lambda: gpu().entropy(features, codes.bfloat16(), 1.0),
        lambda: gpu().read(features, codes, 1.0, table.double()),
    )
    for call in calls:
        with pytest.raises(TypeError, match=r"of float32, bfloat16 or float16; these are torch\."):
            call()


def a_chosen(dtype=FLOAT):
    tensors = inputs(40, 150, 8, 40, dtype)
    return tensors, gradients_for(*tensors)


def equal(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def equal_bits_on_two_runs():
    (features, codes, table), grads = a_chosen(BF16)
    arguments = features, codes, 3.0, table, *grads
    assert equal(outputs(gpu(), *arguments), outputs(gpu(), *arguments))


def matrices_with_gaps():
    (features, codes, table), grads = a_chosen()
    wide = torch.randn(40, 16, device=DEVICE)
    wide[:, ::2] = features
    gaps = wide[:, ::2], codes.T.contiguous().T, 1.0, table.T.contiguous().T
    ones = [x[..., :1].expand(x.shape) for x in grads]  # as the gradient of a mean
    filled = [x.contiguous() for x in ones]
    assert equal(outputs(gpu(), features, codes, 1.0, table, *filled), outputs(gpu(), *gaps, *ones))


def the_gradient_of_a_frozen_table_is_none():
    (features, codes, table), grads = a_chosen()
    arguments = features, codes, 1.0, table, *grads
    wanted, found = outputs(gpu(), *arguments), outputs(gpu(), *arguments, wants_table=False)
    assert found.pop("table") is None and wanted.pop("table") is not None
    assert equal(found, wanted)


class _Sizes(TorchFunctionMode):
    """The largest number of elements of a tensor that is made. The interpreter copies bytes."""

    largest = 0

    def __torch_function__(self, function, types, arguments=(), options=None):
        out = function(*arguments, **(options or {}))
        for x in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(x, torch.Tensor) and x.is_floating_point():
                self.largest = max(self.largest, x.numel())
        return out


def chunks_and_parts():
    """Several chunks of rows, and several blocks of rows in a part: the same, and no N x K."""
    features, codes, table = inputs(300, 40, 8, 30)
    grads, chunk, programs = gradients_for(features, codes, table), gpu().CHUNK, gpu().PROGRAMS
    arguments = features, codes, 1.0, table, *grads
    wanted = outputs(gpu(), *arguments)
    gpu().CHUNK, gpu().PROGRAMS = 1, 2
    assert len(gpu()._parts(features, codes)) == 3
    with _Sizes() as sizes:
        found = outputs(gpu(), *arguments)
    gpu().CHUNK, gpu().PROGRAMS = chunk, programs
    for name, right in wanted.items():
        near(found[name], right, EXACT)
    assert 300 * 30 <= sizes.largest < 300 * 40


def a_quantizer_on_a_gpu():
    """The gradients of test_fused.py, where the dispatch gives the kernels to all tensors."""
    import test_fused

    of, asked = kernels.of, []
    assert of(torch.device("cuda")) is gpu() and of(torch.device("cpu")) is chunked
    kernels.of = lambda device: asked.append(device) or gpu()
    for kind in ("vq", "ibq"):
        module, z = test_fused.quantizer(kind).to(DEVICE), test_fused.features(kind).to(DEVICE)
        for tau, through in ((0.1, False), (0.05, True)):
            fused, right = (
                test_fused.gradients(module, z, form, tau, straight_through=through)
                for form in ("fused", "reference")
            )
            assert fused.keys() == right.keys() and right["z"].norm() > 0
            for name in right:
                near(fused[name], right[name], EXACT)
    kernels.of = of
    assert len(asked) >= 4 * 4  # the values and gradients of the entropies and of the read-out


CASES = [
    any_shape,
    a_table_of_16_bits,
    scores_of_400,
    scores_all_far_below_zero,
    shares_of_one,
    the_lowest_of_equal_codes,
    all_codes_are_equal,
    a_code_of_probability_0,
    no_rows,
    other_number_formats_are_refused,
    equal_bits_on_two_runs,
    matrices_with_gaps,
    the_gradient_of_a_frozen_table_is_none,
    chunks_and_parts,
    a_quantizer_on_a_gpu,
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
    root = Path(__file__).resolve().parents[2]
    found = os.environ | {"PYTHONPATH": f"{root}:{root / 'tests/helpers'}"}
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
    if DEVICE == "cpu":
        from benchmarks.gpu_parts.kernels import sum_in_order

        sum_in_order()
    print(json.dumps({case.__name__: outcome(case) for case in CASES}))
