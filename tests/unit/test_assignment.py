"""Every reduction of an assignment against its formula, and what is shared between them."""

import itertools

import pytest
import tiny
import torch
import torch.nn.functional as F

from gear.kernels import chunked
from gear.tokenizer import assignment as module
from gear.tokenizer.assignment import Assignment
from gear.tokenizer.autoencoder import QUANTIZERS
from gear.tokenizer.fused import FusedAssignment

B, N, K, D, W = 2, 5, 12, 3, 4
TAU = 0.3
SCALES = [(1.0, 0.0), (2.0, 0.0), (2.0, -2.0)]


FORMS = [Assignment, FusedAssignment]


@pytest.fixture(params=itertools.product(SCALES, FORMS), ids=str)
def case(request, monkeypatch):
    """(an assignment in float64 that learns, the same A by the formula)"""
    (scale, shift), form = request.param
    monkeypatch.setattr(chunked, "ELEMENTS", 3 * K)  # four chunks of the fused form
    z = torch.randn(B, N, D, dtype=torch.float64, requires_grad=True)
    codes = torch.randn(K, D, dtype=torch.float64, requires_grad=True)
    return form(z, codes, scale, shift), scale * (z[:, :, None] * codes).sum(-1) + shift


def one_hot(scores):
    return F.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)


def softmax(scores, tau=TAU):
    p = (scores / tau).exp()
    return p / p.sum(-1, keepdim=True)


# each reduction


def test_scores_and_their_argmax(case):
    a, scores = case
    torch.testing.assert_close(a.scores(), scores)
    assert torch.equal(a.hard(), scores.argmax(-1)) and len(a.hard().unique()) > 2


def test_weights_are_the_softmax_or_have_the_value_of_the_one_hot(case):
    a, scores = case
    torch.testing.assert_close(a.weights(TAU), softmax(scores))
    torch.testing.assert_close(a.weights(TAU, straight_through=True), one_hot(scores))


def test_soft_tends_to_hard(case):
    a, scores = case
    taus = (10.0, 1.0, 0.1, 0.001)
    away = [(a.weights(tau) - one_hot(scores)).abs().max().item() for tau in taus]
    assert away == sorted(away, reverse=True) and away[0] > 0.3 and away[-1] < 1e-6


@pytest.mark.parametrize("positions", [slice(None), slice(None, -1), slice(2, 4)])
def test_a_table_is_read_by_the_weights(case, positions):
    a, scores = case
    table = torch.randn(K, W, dtype=torch.float64)
    read = a.read(table, TAU, positions=positions)
    torch.testing.assert_close(read, (softmax(scores) @ table)[:, positions])
    hard = a.read(table, TAU, True, positions)
    torch.testing.assert_close(hard, table[scores.argmax(-1)][:, positions])


def test_entropies(case):
    a, scores = case
    p = softmax(scores).flatten(0, 1)
    entropy, mean = a.entropies(TAU)
    torch.testing.assert_close(entropy, -(p * p.log()).sum(-1))
    torch.testing.assert_close(mean, p.sum(0) / (B * N))


@pytest.mark.parametrize("rows, chunks", [(3, 4), (1024, 1)])
@pytest.mark.parametrize("k", [1, 5, 99])
def test_the_largest_masses_a_chunk_at_a_time(case, monkeypatch, rows, chunks, k):
    monkeypatch.setattr(module, "ROWS", rows)
    a, scores = case
    sums = list(a.sharpness(TAU, (k, 2)))
    assert len(sums) == chunks

    def expected(p, p1):
        ordered = p.sort(-1, descending=True).values
        entropies = [-(x * x.log()).sum() for x in (p, p1)]
        return torch.stack([*entropies, *(ordered[:, :n].sum() for n in (1, k, 2))])

    p, p1 = softmax(scores).flatten(0, 1), scores.softmax(-1).flatten(0, 1)
    torch.testing.assert_close(sum(sums), expected(p, p1))
    torch.testing.assert_close(
        sum(a.sharpness(TAU, (k, 2), slice(1, None, 3))), expected(p[1::3], p1[1::3])
    )


# gradients, against central differences in float64


@pytest.mark.parametrize(
    "reduction",
    [
        lambda a, table: a.scores(),
        lambda a, table: a.weights(TAU),
        lambda a, table: a.read(table, TAU, positions=slice(1, None)),
        lambda a, table: a.entropies(TAU),
        lambda a, table: a.entropies(TAU)[1],
    ],
    ids=["scores", "weights", "read", "entropies", "mean"],
)
def test_gradients_to_features_codes_and_table(case, reduction):
    a, _ = case
    table = torch.randn(K, W, dtype=torch.float64, requires_grad=True)

    def function(features, codes, table):
        return reduction(type(a)(features, codes, a.scale, a.shift), table)

    assert torch.autograd.gradcheck(function, (a.features_BND, a.codes_KD, table))


def test_the_gradient_of_a_read_by_hand():
    """du/dA_j = p_j (e_j - u) / tau, straight-through or not."""
    scores, table = torch.randn(B, N, K, requires_grad=True), torch.randn(K, W)
    a = tiny.assignment(scores)
    p, u = a.weights(TAU), a.read(table, TAU)
    expected = torch.zeros(B, N, K)
    expected[1, 2] = (p[1, 2] * (table[:, 0] - u[1, 2, 0]) / TAU).detach()
    for straight_through in (False, True):
        read = a.read(table, TAU, straight_through)[1, 2, 0]
        found = torch.autograd.grad(read, scores, retain_graph=True)[0]
        torch.testing.assert_close(found, expected)


# what is shared


def test_all_reductions_share_one_product(monkeypatch):
    products, right = [], torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda x, y: products.append(1) or right(x, y))
    a = Assignment(torch.randn(B, N, D, requires_grad=True), torch.randn(K, D))
    a.hard(), a.weights(TAU), a.entropies(TAU), list(a.sharpness(TAU, (3,)))
    assert len(products) == 1
    a.read(torch.randn(K, W), TAU)
    assert len(products) == 2 and a.scores() is a.scores()


def test_who_asks_first_does_not_decide_on_the_gradient():
    z, codes = torch.randn(B, N, D), torch.randn(K, D, requires_grad=True)
    a = Assignment(z, codes)
    with torch.no_grad():
        a.hard(), list(a.sharpness(TAU, (3,)))
        constant = Assignment(z, codes)
    assert a.scores().requires_grad and not constant.scores().requires_grad


@pytest.mark.parametrize("kind", sorted(QUANTIZERS))
def test_a_quantizer_gives_what_it_is_made_of(smoke_settings, kind):
    quantizer = QUANTIZERS[kind](smoke_settings(kind).tokenizer)
    z = torch.randn(B, N, quantizer.lookup(torch.zeros(1, dtype=torch.long)).shape[-1])
    a, codes = quantizer.assignment(z), quantizer.lookup(torch.arange(16))
    assert torch.equal(a.codes_KD, codes) and a.features_BND.dtype == torch.float32
    assert (a.scale, a.shift) == {"vq": (2, -2), "lfq": (2, 0), "ibq": (1, 0)}[kind]
