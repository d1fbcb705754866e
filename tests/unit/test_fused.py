"""The fused form against the reference: values, gradients at the parameters, memory, training."""

import copy
import json
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
import wide

from gear import config
from gear.ar.train import NTP
from gear.kernels import chunked
from gear.tokenizer.autoencoder import QUANTIZERS
from gear.tokenizer.entropy import entropy_loss

KINDS = sorted(QUANTIZERS)
B, N, K, W = 2, 40, 64, 12
DIMS = {"vq": 8, "lfq": 6, "ibq": 10}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunked, "ELEMENTS", 7 * K)


def quantizer(kind, seed=0):
    """A quantizer with duplicate codes."""
    torch.manual_seed(seed)
    module = QUANTIZERS[kind](config.Tokenizer(kind, codebook_size=K, code_dim=DIMS[kind]))
    if kind != "lfq":
        with torch.no_grad():
            module.codebook[5] = module.codebook[3]
    return module


def features(kind, seed=1):
    """z (B, N, D)"""
    return torch.randn(B, N, DIMS[kind], generator=torch.Generator().manual_seed(seed))


def gradients(module, z, form, tau, dtype=torch.float32, straight_through=False):
    """{name: gradient} of read-out, entropy loss and code, of z and the codebook."""
    module = copy.deepcopy(module).to(dtype)
    module.form = module.forms[form]
    if dtype == torch.float64:  # the quantizers compute in float32: in float64 the formulas
        z = z.double().requires_grad_()
        assignment = in_float64(module, z)
    else:
        z = z.clone().requires_grad_()
        assignment = module.assignment(z)
    torch.manual_seed(2)
    table, weight = (torch.randn(*shape, W).to(z.device, dtype) for shape in ((K,), (B, N)))
    loss = (
        entropy_loss(assignment, tau)
        + (assignment.read(table, tau, straight_through) * weight).sum()
    )
    loss.backward()
    return {"z": z.grad, **{name: p.grad for name, p in module.named_parameters()}}


def in_float64(module, z):
    kind = type(module).__name__.lower()
    form = module.forms["reference"]
    if kind == "vq":
        codes = F.normalize(module.codebook, dim=-1)
        return form(F.normalize(z, dim=-1), codes, scale=2, shift=-2)
    if kind == "ibq":
        return form(z, module.codebook)
    return form(z, module.hypercube, scale=2)


def error(found, right):
    return ((found.double() - right).norm() / right.norm()).item()


@pytest.mark.parametrize("straight_through", [False, True])
@pytest.mark.parametrize("tau", [1.0, 0.1, 0.05])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree(kind, tau, straight_through):
    module, z = quantizer(kind), features(kind)
    found, right = (
        gradients(module, z, form, tau, straight_through=straight_through)
        for form in ("fused", "reference")
    )
    assert found.keys() == right.keys()
    for name in right:
        assert right[name].norm() > 0
        assert error(found[name], right[name].double()) < 1e-5, name


@pytest.mark.parametrize("tau", [0.03, 0.01])
@pytest.mark.parametrize("kind", KINDS)
def test_at_low_temperatures_it_is_as_near_to_float64(kind, tau):
    module = quantizer(kind)
    errors = {"fused": [], "reference": []}
    for seed in range(8):
        z = features(kind, seed)
        right = gradients(module, z, "reference", tau, torch.float64)
        for form, seen in errors.items():
            found = gradients(module, z, form, tau)
            seen.append([error(found[name], right[name]) for name in right])
    fused, reference = (torch.tensor(seen).mean(0) for seen in errors.values())
    assert (fused < 1.5 * reference).all(), (fused, reference)


@pytest.mark.parametrize("kind", ["vq", "ibq"])  # the codes of lfq are fixed
def test_the_rarest_code_gets_the_same_gradient(kind):
    module, z = quantizer(kind), features(kind)
    mean_K = module.assignment(z).weights(0.05).mean((0, 1))
    code = mean_K.masked_fill(mean_K < 1e-8, 1).argmin()
    assert mean_K[code] < 1e-3
    found, right = (gradients(module, z, form, 0.05)["codebook"][code] for form in module.forms)
    assert right.norm() > 0
    assert error(found, right.double()) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_equal_scores_give_the_lowest_index(kind):
    module, z = quantizer(kind), features(kind)
    z[0, 0] = 0
    with torch.no_grad():
        if kind != "lfq":
            z[1, 1] = module.lookup(torch.tensor(5))
    seen = {}
    for form in module.forms:
        module.form = module.forms[form]
        seen[form] = module.assignment(z).hard()
    assert torch.equal(*seen.values())
    assert seen["fused"][0, 0] == 0  # all scores are 0
    if kind == "vq":
        assert seen["fused"][1, 1] == 3  # codes 3 and 5 are one


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_quantizer_agrees(kind):
    module, z = quantizer(kind), features(kind)
    outcomes = []
    for form in module.forms:
        module.form = module.forms[form]
        mine = z.clone().requires_grad_()
        quantized = module(mine)
        (sum(quantized.losses.values()) + quantized.code_BND.square().sum()).backward()
        outcomes.append((quantized.code_BND, quantized.indices_BN, mine.grad))
    (code, indices, grad), (right_code, right_indices, right_grad) = outcomes
    assert torch.equal(indices, right_indices)
    assert error(code, right_code.double()) < 1e-6 and error(grad, right_grad.double()) < 1e-5


def test_autocast_reads_a_table_in_bfloat16():
    module, z = quantizer("vq"), features("vq")
    table = torch.randn(K, W)
    reads = []
    for form in module.forms:
        module.form = module.forms[form]
        with torch.autocast("cpu", torch.bfloat16):
            reads.append(module.assignment(z).read(table, 0.1))
    assert {read.dtype for read in reads} == {torch.bfloat16}
    torch.testing.assert_close(*reads, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_head_and_its_loss(dtype):
    torch.manual_seed(0)
    head = torch.nn.Linear(W, K, bias=False)
    target, state = torch.randint(K, (B * N,)), 3 * torch.randn(B * N, W)
    outcomes = []
    for ntp in NTP.values():
        head.zero_grad()
        mine = state.clone().requires_grad_()
        with torch.autocast("cpu", dtype or torch.float32, enabled=dtype is not None):
            loss = ntp(mine, head, target)
        (3 * loss).backward()
        outcomes.append((loss.detach(), mine.grad, head.weight.grad.clone()))
    tolerance = {} if dtype is None else {"atol": 2e-3, "rtol": 2e-2}
    torch.testing.assert_close(*outcomes, **tolerance)
    right = F.cross_entropy(state.double() @ head.weight.double().T, target)
    assert abs(outcomes[1][0] - right) < (1e-6 if dtype is None else 1e-2)


# memory


@pytest.mark.parametrize("run", ["gear-l", "gear-l-ibq"])
def test_a_step_of_the_papers_size_makes_no_tensor_of_all_scores(run):
    """In a process of its own, and again if a signal ends it: torch's fake tensors damage the
    memory of their process now and then. A wrong count fails at once."""
    command = [sys.executable, wide.__file__, run]
    for _ in range(6):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode >= 0:
            break
    done.check_returncode()
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["reference"] >= 29 and seen["fused"] == 0


# the choice


def test_auto_depends_on_the_run_alone():
    paper, demo = (
        config.Settings(),
        config.build({"tokenizer.codebook_size": 64, "optim.batch": 32}),
    )
    assert (paper.kernels, demo.kernels) == ("fused", "reference")
    named = config.build({"runtime.kernels": "reference"})
    assert named.kernels == "reference"
    assert config.difference(named) == {"runtime.kernels": "reference"}
    # what `auto` is anyway changes nothing
    assert config.difference(config.build({"runtime.kernels": "fused"})) == {}
