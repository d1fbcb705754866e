"""CKA against the textbook's formulas in float64, and what must not change it."""

from itertools import permutations

import numpy as np
import pytest
import torch
from similar import features

from gear.analysis.cka import cka
from gear.analysis.hsic import hsic


def textbook(x, y):
    """tr(K H L H) / sqrt(tr(K H K H) tr(L H L H)) of (N, D) arrays (Kornblith et al., eq. 1-3)."""
    n = len(x)
    H = np.eye(n) - np.ones((n, n)) / n
    K, L = x @ x.T, y @ y.T
    return np.trace(K @ H @ L @ H) / np.sqrt(np.trace(K @ H @ K @ H) * np.trace(L @ H @ L @ H))


def u_statistic(K, L):
    """HSIC as the mean over four different samples (Song et al. 2012, eq. 4), one by one."""
    quadruples = list(permutations(range(len(K)), 4))
    return sum(K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q]) for i, j, q, r in quadruples) / len(
        quadruples
    )


def test_biased_cka_is_the_textbook_formula():
    x, y = features()
    expected = [textbook(a, b) for a, b in zip(x.double().numpy(), y.double().numpy(), strict=True)]
    assert cka(x, y).tolist() == pytest.approx(expected, abs=1e-12)


def test_biased_cka_of_narrow_features_by_their_covariances():
    """|Y'X|^2 / (|X'X| |Y'Y|) of centred features, which needs no kernel (Kornblith et al.)."""
    x, y = features(sets=1, samples=40)
    a, b = ((z[0] - z[0].mean(0)).double() for z in (x, y))
    expected = (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())
    assert cka(x, y).item() == pytest.approx(expected.item(), abs=1e-6)


def test_unbiased_cka_is_a_u_statistic():
    x, y = features(sets=1, samples=6)
    K, L = (z[0].double().numpy() @ z[0].double().numpy().T for z in (x, y))
    expected = u_statistic(K, L) / np.sqrt(u_statistic(K, K) * u_statistic(L, L))
    assert cka(x, y, "unbiased").item() == pytest.approx(expected, abs=1e-12)


def test_hsic_of_kernels_that_are_not_centred():
    K, L = (z.double() @ z.double().mT + 3 for z in features(sets=1, samples=6))
    K = K + torch.arange(6.0)[:, None]  # and not symmetric, as CKNNA's are
    H = torch.eye(6, dtype=torch.float64) - 1 / 6
    expected = torch.trace(K[0] @ H @ L[0] @ H) / 25
    assert hsic(K, L, "biased").item() == pytest.approx(expected.item())
    L = L[0].numpy()
    symmetric = (K[0] + K[0].T).numpy() / 2
    found = hsic(torch.from_numpy(symmetric)[None], torch.from_numpy(L)[None], "unbiased")
    assert found.item() == pytest.approx(u_statistic(symmetric, L))


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_rotation_scale_shift_and_order_change_nothing(estimator):
    x, y = (z.double() for z in features())
    found = cka(x, y, estimator)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    order = torch.randperm(12)
    for other in (x @ rotation, 7.5 * x, x + 100):
        torch.testing.assert_close(cka(other, y, estimator), found, rtol=0, atol=1e-9)
    torch.testing.assert_close(cka(x[:, order], y[:, order], estimator), found)
    torch.testing.assert_close(cka(y, x, estimator), found)
    torch.testing.assert_close(cka(x, x, estimator), torch.ones(3, dtype=torch.float64))
    assert (cka(x[:, order], y, estimator) - found).abs().min() > 0.05
    stretched = x * torch.tensor([9.0, 1, 1, 1, 1])
    assert (cka(stretched, y, estimator) - found).abs().max() > 0.05


def test_independent_features_are_unrelated_only_without_bias():
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(200, 16, 64, generator=generator) for _ in range(2))
    assert cka(x, y).mean() > 0.7
    assert abs(cka(x, y, "unbiased").mean()) < 0.01


def test_features_that_do_not_vary_have_no_value():
    x, y = features()
    x[1] = x[1, :1]
    for estimator in ("biased", "unbiased"):
        found = cka(x, y, estimator)
        assert found.isnan().tolist() == [False, True, False]
    assert cka(torch.zeros(1, 5, 2), y[:1, :5]).isnan().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:, :3], y[:, :3]), "3 samples to compare and it takes 4; use more"),
        (lambda x, y: (x, y[:, :-1]), r"\(3, 12\) and \(3, 11\) sets and samples"),
        (lambda x, y: (x / 0, y), "NaN or infinite values; the checkpoint diverged"),
        (lambda x, y: (x[0], y[0]), r"shape \(12, 5\); give \(sets, samples, width\)"),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        cka(*change(*features()))


def test_an_unknown_estimator_is_named():
    with pytest.raises(ValueError, match="cannot be 'debiased'; it is biased or unbiased"):
        cka(*features(), "debiased")
