"""CKNNA on cases worked by hand, against its definition one element at a time, and invariances."""

import pytest
import torch
from similar import features

from gear.analysis.cka import cka
from gear.analysis.cknna import cknna, neighbours


def line(*values):
    """One set of one-dimensional samples."""
    return torch.tensor(values, dtype=torch.float64)[None, :, None]


def by_definition(x, y, k):
    """Of (N, D) lists without ties: masks, then eq. 5 of Song et al., element by element."""
    n = len(x)
    K, L = ([[float(a @ b) for b in z] for a in z] for z in (x, y))

    def near(A):
        ranked = [sorted((j for j in range(n) if j != i), key=lambda j: -A[i][j]) for i in range(n)]
        return [set(order[:k]) for order in ranked]

    def hsic(A, B, in_a, in_b):
        a, b = (
            [[Z[i][j] if j in in_a[i] & in_b[i] else 0.0 for j in range(n)] for i in range(n)]
            for Z in (A, B)
        )
        trace = sum(a[i][j] * b[j][i] for i in range(n) for j in range(n))
        paths = sum(a[i][j] * b[j][q] for i in range(n) for j in range(n) for q in range(n))
        total = sum(map(sum, a)) * sum(map(sum, b))
        return trace + total / ((n - 1) * (n - 2)) - 2 * paths / (n - 2)

    kk, ll = (hsic(A, A, near(A), near(A)) for A in (K, L))
    return hsic(K, L, near(K), near(L)) / (kk * ll) ** 0.5


def test_by_hand():
    # nearest by inner product: 0, 1, 2 -> 3 and 3 -> 2 in x; 0, 1, 3 -> 2 and 2 -> 3 in y. Both
    # have 2 -> 3 and 3 -> 2, each of value 12: 288 + 24 * 24 / 6 - 2 * 288 / 2 = 96. Of x with
    # itself, values 4, 8, 12, 12: 288 + 36 * 36 / 6 - 2 * 432 / 2 = 72, and of y as much.
    assert cknna(line(1, 2, 3, 4), line(1, 2, 4, 3), k=1).item() == pytest.approx(96 / 72)
    # 0, 1, 2 -> 3, 3 -> 2 against 1, 2, 3 -> 0, 0 -> 1: no pair is near in both
    assert cknna(line(1, 2, 3, 4), line(4, 3, 2, 1), k=1).item() == 0
    pairs = torch.tensor([[[1.0, 0], [1, 0], [0, 1], [0, 1]]])
    assert cknna(pairs, pairs, k=1).item() == pytest.approx(1)
    assert cknna(pairs, pairs[:, [0, 2, 1, 3]], k=1).item() == 0


def test_ties_are_all_neighbours():
    # inner products of 1 with 3, 2, 2, 0.5: the second nearest is any of two
    K = line(1, 3, 2, 2, 0.5) @ line(1, 3, 2, 2, 0.5).mT
    assert neighbours(K, 1)[0, 0].tolist() == [False, True, False, False, False]
    assert neighbours(K, 2)[0, 0].tolist() == [False, True, True, True, False]
    assert neighbours(K, 3)[0, 0].tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("k", [1, 2, 5, 11])
def test_is_its_definition(k):
    x, y = features()
    expected = [by_definition(a.double(), b.double(), k) for a, b in zip(x, y, strict=True)]
    assert cknna(x, y, k).tolist() == pytest.approx(expected, abs=1e-9)


def test_with_all_neighbours_it_is_unbiased_cka():
    x, y = features()
    torch.testing.assert_close(cknna(x, y, 11), cka(x, y, "unbiased"), rtol=0, atol=1e-9)


def test_rotation_scale_and_order_change_nothing():
    x, y = (z.double() for z in features())
    x[:, 5] = x[:, 2]  # ties
    found = cknna(x, y, 3)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    order = torch.randperm(12)
    for other in (x @ rotation, 1e-4 * x):
        torch.testing.assert_close(cknna(other, y, 3), found, rtol=0, atol=1e-9)
    torch.testing.assert_close(cknna(x[:, order], y[:, order], 3), found)
    assert (cknna(x[:, order], y, 3) - found).abs().max() > 0.1


def test_what_has_no_value_is_nan():
    x, y = features()
    x[1] = x[1, :1]
    assert cknna(x, y, 3).isnan().tolist() == [False, True, False]
    # every sample's neighbour is the one of 10: 600 + 60 * 60 / 6 - 2 * 1200 / 2 = 0
    assert cknna(line(1, 1, 1, 10), line(1, 2, 3, 4), 1).isnan().all()


@pytest.mark.parametrize("k", [0, 12])
def test_bad_input_is_one_sentence(k):
    x, y = features()
    with pytest.raises(ValueError, match=f"{k} neighbours of 12 samples: set analysis.neighbours"):
        cknna(x, y, k)
    with pytest.raises(ValueError, match="NaN or infinite"):
        cknna(x * torch.nan, y, 3)
    with pytest.raises(ValueError, match="the teacher's patch grid must be the token grid"):
        cknna(x, y[:, 1:], 3)
    with pytest.raises(ValueError, match="2 samples to compare and it takes 4"):
        cknna(x[:, :2], y[:, :2], 1)
