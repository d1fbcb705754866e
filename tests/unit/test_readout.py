"""The read-outs of one assignment and the losses on them, against closed forms."""

from math import log

import pytest
import torch
import torch.nn.functional as F

from gear.alignment.loss import alignment_loss
from gear.joint import readout

B, N, K, D = 2, 5, 7, 3


@pytest.fixture
def scores():
    return torch.randn(B, N, K, requires_grad=True)


def one_hot(scores):
    return F.one_hot(scores.argmax(-1), K).float()


def test_soft_tends_to_hard(scores):
    hard = one_hot(scores)
    away = [
        (readout.assignment(scores, tau, "soft") - hard).abs().max().item()
        for tau in (1.0, 0.1, 0.01, 0.001)
    ]
    assert away == sorted(away, reverse=True)
    assert away[0] > 0.3 and away[-1] < 1e-6


def test_soft_is_the_softmax_at_the_temperature(scores):
    p = readout.assignment(scores, 0.5, "soft")
    expected = (scores * 2).exp()
    torch.testing.assert_close(p, expected / expected.sum(-1, keepdim=True))


@pytest.mark.parametrize("kind", ["soft", "straight_through"])
def test_rows_sum_to_one_in_float32(scores, kind):
    s = readout.assignment(scores.bfloat16(), 0.1, kind)
    assert s.dtype == torch.float32
    torch.testing.assert_close(s.sum(-1), torch.ones(B, N))


def test_straight_through_has_the_value_of_hard_and_the_gradient_of_soft(scores):
    weight, table = torch.randn(B, N, D), torch.randn(K, D)
    gradients = {}
    for kind in ("soft", "straight_through"):
        u = readout.read_soft(readout.assignment(scores, 0.3, kind), table)
        gradients[kind] = torch.autograd.grad((u * weight).sum(), scores)[0]
    torch.testing.assert_close(u, readout.read_hard(scores.argmax(-1), table))
    assert gradients["soft"].abs().max() > 0.01
    assert torch.equal(gradients["soft"], gradients["straight_through"])


def test_the_gradient_of_soft_by_hand(scores):
    """du/dA_j = p_j (e_j - u) / tau."""
    table, tau = torch.randn(K, D), 0.3
    p = readout.assignment(scores, tau, "soft")
    u = readout.read_soft(p, table)
    found = torch.autograd.grad(u[1, 2, 0], scores)[0]
    expected = torch.zeros(B, N, K)
    expected[1, 2] = p[1, 2] * (table[:, 0] - u[1, 2, 0]) / tau
    torch.testing.assert_close(found, expected.detach())


def test_reading_a_one_hot_is_looking_up(scores):
    table = torch.randn(K, D)
    hard = readout.read_hard(scores.argmax(-1), table)
    torch.testing.assert_close(readout.read_soft(one_hot(scores), table), hard)
    assert torch.equal(hard[1, 3], table[scores.argmax(-1)[1, 3]])


def test_another_readout_is_refused(scores):
    with pytest.raises(ValueError) as error:
        readout.assignment(scores, 0.1, "hard")
    assert str(error.value) == "joint.readout cannot be 'hard'; it is soft or straight_through."


def test_soft_cross_entropy_of_a_one_hot_is_cross_entropy(scores):
    logits = torch.randn(B, N, K)
    expected = F.cross_entropy(logits.flatten(0, 1), scores.argmax(-1).flatten())
    torch.testing.assert_close(readout.soft_cross_entropy(logits, one_hot(scores)), expected)


def test_soft_cross_entropy_by_hand():
    q = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]])
    s = torch.tensor([[[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]]])
    expected = -(0.5 * log(0.5) + 0.5 * log(0.25) + 0.2 * log(0.1) + 0.8 * log(0.8)) / 2
    assert readout.soft_cross_entropy(q.log() + 3, s).item() == pytest.approx(expected)


def test_alignment_is_minus_the_mean_cosine():
    a = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, 0.0]]])
    b = torch.tensor([[[5.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    assert alignment_loss(a, b).item() == pytest.approx(-(1 + 0 + 0.5**0.5 - 1) / 4)
    assert alignment_loss(b.bfloat16(), b).dtype == torch.float32


def test_alignment_of_another_grid_is_refused():
    with pytest.raises(ValueError, match="the teacher's patch grid must be the token grid"):
        alignment_loss(torch.ones(1, 16, 4), torch.ones(1, 4, 4))
