"""The read-outs of one assignment and the losses on them, against closed forms."""

from math import log

import pytest
import tiny
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


@pytest.mark.parametrize("as_target", [False, True])
@pytest.mark.parametrize("kind", ["soft", "straight_through"])
def test_all_positions_but_the_last_are_read(scores, kind, as_target):
    table, tau = torch.randn(K, D), 0.3
    u, s = readout.read_out(tiny.assignment(scores), table, tau, kind, as_target)
    expected = (scores / tau).softmax(-1) if kind == "soft" else one_hot(scores)
    torch.testing.assert_close(u, (expected @ table)[:, :-1])
    assert (s is not None) == as_target
    if as_target:
        torch.testing.assert_close(s, expected)


def test_straight_through_has_the_value_of_hard_and_the_gradient_of_soft(scores):
    weight, table = torch.randn(B, N - 1, D), torch.randn(K, D)
    gradients = {}
    for kind in ("soft", "straight_through"):
        u, _ = readout.read_out(tiny.assignment(scores), table, 0.3, kind)
        gradients[kind] = torch.autograd.grad((u * weight).sum(), scores)[0]
    torch.testing.assert_close(u, F.embedding(scores.argmax(-1), table)[:, :-1])
    assert gradients["soft"].abs().max() > 0.01 and not gradients["soft"][:, -1].any()
    assert torch.equal(gradients["soft"], gradients["straight_through"])


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
