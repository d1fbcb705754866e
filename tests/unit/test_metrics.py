"""Metrics and codebook statistics against closed forms, brute force, SciPy and scikit-image."""

from math import exp, log

import numpy as np
import pytest
import scipy.linalg
import tiny
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gear.metrics.frechet import Statistics, frechet_distance, frechet_with_bound
from gear.metrics.inception_score import inception_score
from gear.metrics.prdc import prdc
from gear.metrics.protocol import PROTOCOLS, Features, Summary, measured, require_count
from gear.metrics.reconstruction import l1, psnr, ssim
from gear.tokenizer.codebook import SoftAssignment, usage_stats

approx = pytest.approx
P, ONES, IMAGE = np.eye(2)[[0, 1, 0, 0]], np.ones((5, 2)), torch.full((1, 1, 8, 8), 0.5)


@pytest.fixture
def rng():
    """Random numbers of each test's own: a case does not depend on the others."""
    return np.random.default_rng(0)


def test_frechet_of_known_gaussians():
    a = Statistics(9, np.zeros(2), np.diag([1.0, 4.0]))
    b = Statistics(9, np.array([3.0, 4.0]), np.diag([9.0, 16.0]))
    assert frechet_distance(a, b) == approx(25 + (3 - 1) ** 2 + (4 - 2) ** 2, abs=1e-10)
    a, b = Statistics(9, a.mean, np.diag([2.0, 0])), Statistics(9, a.mean, np.diag([0, 5.0]))
    assert frechet_distance(a, b) == approx(2 + 5, abs=1e-12)  # rank-deficient, nothing shared


@pytest.mark.parametrize("dimensions", [6, 64])  # 64 > 40 images: rank-deficient
def test_frechet_of_random_sets(rng, dimensions):
    x, y = rng.normal(size=(2, 40, dimensions)) * [[[1]], [[2]]] + [[[0]], [[0.5]]]
    rotation = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    a, b = Statistics.of(x), Statistics.of(y)
    trace_root = np.linalg.svd((x - a.mean) @ (y - b.mean).T / 39, compute_uv=False).sum()
    if dimensions < 40:  # else sqrtm is of no use
        assert np.trace(scipy.linalg.sqrtm(a.cov @ b.cov)).real == approx(trace_root, 1e-9)
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.cov + b.cov) - 2 * trace_root
    turned = frechet_distance(Statistics.of(x @ rotation), Statistics.of(y @ rotation))
    assert [frechet_distance(a, b), frechet_distance(b, a), turned] == approx([expected] * 3, 1e-7)
    assert frechet_distance(a, a) == approx(0, abs=1e-5)


@pytest.mark.parametrize("dimensions, images", [(64, 300), (64, 40), (300, 299)])
def test_the_error_bound_holds_and_is_small(rng, dimensions, images):
    """Against singular values, which are not squared and so hold twice the digits."""
    scale = 10.0 ** -np.linspace(0, 4, dimensions)  # ill-conditioned, as features are
    x, y = rng.normal(size=(2, images, dimensions)) * scale + [[[0]], [[0.01]]]
    a, b = Statistics.of(x), Statistics.of(y)
    product = (x - a.mean) @ (y - b.mean).T / (images - 1)
    trace_root = np.linalg.svd(product, compute_uv=False).sum()
    exact = ((a.mean - b.mean) ** 2).sum() + np.trace(a.cov + b.cov) - 2 * trace_root
    value, bound = frechet_with_bound(a, b)
    assert abs(value - exact) <= bound < 1e-3 * np.trace(a.cov)
    value, bound = frechet_with_bound(a, a)
    assert value <= bound  # exactly zero


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_statistics_streamed_equal_statistics_at_once(rng, batch):
    x, streamed = (rng.normal(size=(150, 5)) * 3 + 50).astype(np.float32), Statistics()
    for start in range(0, len(x), batch):
        streamed.update(x[start : start + batch])
    np.testing.assert_allclose(streamed.mean, x.astype(float).mean(0), rtol=0, atol=1e-10)
    np.testing.assert_allclose(streamed.cov, np.cov(x.astype(float).T), rtol=0, atol=1e-10)


def test_inception_score_by_hand():
    assert [inception_score(np.eye(4)), inception_score(np.full((6, 3), 1 / 3))] == approx([4, 1])
    assert inception_score(P) == approx(exp(-(0.75 * log(0.75) + 0.25 * log(0.25))))
    assert inception_score(P, splits=2) == inception_score(P, split_size=2) == approx((2 + 1) / 2)
    assert inception_score(P, split_size=3) == approx((3 / 2 ** (2 / 3) + 1) / 2)


@pytest.mark.parametrize("side", [1, 7, 30, 4096])
def test_prdc_equals_brute_force_and_hand_worked_cases(side, monkeypatch):
    monkeypatch.setattr("gear.metrics.prdc.SIDE", side)
    rng, k = np.random.default_rng(1), 3  # its own, so that the case stays non-trivial
    real, fake = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)) * 0.7 + 1
    gap = np.linalg.norm(real[:, None] - fake, axis=-1)
    r_real = np.sort(np.linalg.norm(real[:, None] - real, axis=-1))[:, k]  # [:, 0] is itself
    r_fake = np.sort(np.linalg.norm(fake[:, None] - fake, axis=-1))[:, k]
    inside, recall = gap < r_real[:, None], (gap < r_fake).any(1).mean()
    assert 0 < inside.any(0).mean() < 1 and 0 < inside.any(1).mean() < 1 and 0 < recall < 1
    expected = [inside.any(0).mean(), recall, inside.sum() / 30 / k, inside.any(1).mean()]
    assert list(prdc(real, fake, k).values()) == approx(expected, abs=1e-12)
    line = 2.0 ** np.arange(12)[:, None]  # all distances differ and are exact
    assert set(prdc(line, line, 3).values()) == {1.0}
    assert set(prdc(line, line + 1e6, 3).values()) == {0.0}
    assert list(prdc([[0], [1]], [[2], [3]], 1).values()) == [0.5, 0.5, 0, 0]  # edges touch
    assert prdc([[0], [1], [2]], np.zeros((5, 1)), 2)["recall"] == 1 / 3  # radii of 0


@pytest.mark.parametrize("channels", [1, 3])
def test_reconstruction_equals_scikit_image(rng, channels):
    a = torch.from_numpy(rng.random((3, channels, 16, 23), dtype=np.float32))
    b = (a + 0.1 * torch.from_numpy(rng.normal(size=a.shape)).float()).clamp(0, 1)
    for i, (x, y) in enumerate(zip(a.double().numpy(), b.double().numpy(), strict=True)):
        similarity = structural_similarity(x, y, channel_axis=0, data_range=1)
        expected = [similarity, peak_signal_noise_ratio(x, y, data_range=1), np.abs(x - y).mean()]
        assert [metric(a, b)[i].item() for metric in (ssim, psnr, l1)] == approx(expected, abs=1e-6)
    assert ssim(a, a).tolist() == approx([1, 1, 1]) and psnr(a, a).isinf().all()


def features(rng, n):
    pooled = rng.normal(size=(n, 4)).astype(np.float32)
    return Features(pooled, 2 * pooled, np.eye(4)[np.arange(n) % 4])


ADM, FDD = PROTOCOLS["adm"], PROTOCOLS["fdd"]


def scored(fake, real, settings, protocol=ADM):
    return measured(protocol, *(Summary.of(protocol, [x]) for x in (fake, real)), settings)


def test_a_protocol_composes_the_formulas(rng):
    fake, real = features(rng, 40), features(rng, 60)
    settings = {"images": 40, "prdc_images": 20, "split_size": 2, "neighbours": 5}
    ours, bounds = scored(fake, real, settings)
    near = prdc(real.pooled_ND[:20], fake.pooled_ND[:20], 5)
    assert (ours["precision"], ours["recall"]) == (near["precision"], near["recall"])
    assert ours["is"] == approx(2) and ours["sfid"] == approx(4 * ours["gfid"])
    assert all(type(value) is float for value in ours.values())
    assert set(ours) == set(ADM.metrics) and set(bounds) == {"gfid", "sfid"}
    whole, _ = scored(fake, real, {"images": None})  # as published: all of both sides, k = 3
    near = prdc(real.pooled_ND, fake.pooled_ND, 3)
    assert (whole["precision"], whole["recall"]) == (near["precision"], near["recall"])


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_a_summary_does_not_depend_on_the_batch(rng, batch, monkeypatch):
    monkeypatch.setattr("gear.metrics.frechet.ROWS", 16)
    x = features(rng, 50)
    parts = [Features(*(m[i : i + batch] for m in vars(x).values())) for i in range(0, 50, batch)]
    found, whole = Summary.of(ADM, parts), Summary.of(ADM, [x])
    assert found.count == 50 and np.array_equal(found.rows["pooled"], x.pooled_ND)
    for part in ("pooled", "spatial"):  # to the bit
        assert (found.moments[part].cov == whole.moments[part].cov).all()
        assert (found.moments[part].mean == whole.moments[part].mean).all()
    np.testing.assert_allclose(whole.moments["pooled"].cov, np.cov(x.pooled_ND.T), atol=1e-12)


def test_a_drawn_subset_has_an_address_and_is_spread_over_the_set(rng):
    real, fake = (Features(features(rng, n).pooled_ND) for n in (90, 80))
    settings = {"images": 80, "prdc_images": 30}
    first, again = (scored(real=real, fake=fake, settings=settings, protocol=FDD)[0] for _ in "ab")
    assert first == again and set(first) == set(FDD.metrics)
    head = prdc(real.pooled_ND[:30], fake.pooled_ND[:30], 5)
    assert any(first[k] != head[k] for k in head)  # not the first ones


def entropy_of(weights):
    p = weights / weights.sum()
    return -(p * p.log()).sum().item()


def sharpness(scores_BNK, temperature):
    stats = SoftAssignment(temperature)
    stats.add(tiny.assignment(scores_BNK))
    return stats.means()


def test_codebook_statistics_by_hand():
    scores = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [log(3) * 0.1, 0.0, -9e9, -9e9]]])
    stats = sharpness(scores, 0.1)  # uniform; 3/4 and 1/4
    h = (log(4) + log(4) - 0.75 * log(3)) / 2
    h1 = (log(4) + entropy_of(torch.tensor([3**0.1, 1.0]))) / 2
    values = [value.item() for value in stats.values()]
    assert values == approx([h, exp(h), 0.5, 1.0, 1.0, 1.0, h1], 1e-5)
    assert list(stats)[2:] == ["top1", "top10", "top100", "top1000", "entropy_t1"]
    wide = sharpness(torch.zeros(3, 700, 40, requires_grad=True), 0.1)  # three chunks
    masses = [1 / 40, 1 / 4, 1.0, 1.0]
    expected = [log(40), 40, *masses, log(40)]
    assert [value.item() for value in wide.values()] == approx(expected, 1e-5)
    used = usage_stats(torch.tensor([[0], [3], [3]], dtype=torch.int32), codebook_size=8)
    expected = [2 / 8, log(3) - 2 / 3 * log(2), 3 / 2 ** (2 / 3)]  # codes 0 and 3: 1/3 and 2/3
    assert [value.item() for value in used.values()] == approx(expected)
    assert all(x.shape == () and not x.requires_grad for x in [*wide.values(), *used.values()])


NINE = features(np.random.default_rng(9), 9)
SPOILT = Features(NINE.pooled_ND.copy(), NINE.spatial_NS, NINE.probs_NC)
SPOILT.pooled_ND[4, 1] = np.nan
MISTAKES = {
    "of 1 of 2 images hold NaN": lambda: Statistics.of([[1, 2], [0, np.inf]]),
    r"shape \(5,\), expected \(images, dim": lambda: Statistics.of(np.ones(5)),
    "and 3 dimensions; ext": lambda: frechet_distance(Statistics.of(P), Statistics.of(np.eye(3))),
    "at least 2 images, found 0": lambda: frechet_distance(Statistics(), Statistics.of(P)),
    "there are no images to score": lambda: Summary.of(ADM, []),
    "apply softmax to the logits": lambda: inception_score(3 * P),
    r"shape \(5,\), expected \(images, classes": lambda: inception_score(np.ones(5)),
    "splits is 5 and split_size None for 4 images; g": lambda: inception_score(P, splits=5),
    "splits is 2 and split_size 2": lambda: inception_score(P, splits=2, split_size=2),
    "splits is 1 and split_size 0": lambda: inception_score(P, split_size=0),
    r"neighbours is 4, .*\(5 real, 4 fake\)": lambda: prdc(ONES, P, 4),
    "features have 2 and 3 dim": lambda: prdc(ONES, np.eye(3), 1),
    "7 x 7 pixels, found 6 x 8; leave": lambda: ssim(IMAGE[:, :, :6], IMAGE[:, :, :6]),
    r"\[0, 1\], found \[-0.5, -0.5\]; map": lambda: psnr(IMAGE, -IMAGE),
    r"found \[nan, nan\]": lambda: l1(IMAGE, IMAGE * float("nan")),
    "torch.uint8; convert them to float": lambda: l1(IMAGE.byte(), IMAGE.byte()),
    "give two equal": lambda: l1(IMAGE, IMAGE[:, :, :7]),
    "unknown metric setting 'neigh": lambda: scored(NINE, NINE, {"neighbors": 3}),
    "found 9 gen.* exactly 10; draw": lambda: scored(NINE, NINE, {"images": 10}),
    "found 9 gen.* exactly 50000; draw": lambda: scored(NINE, NINE, {}),
    "x: found 3 generated": lambda: require_count(3, 4, "x: "),
    "prdc_images is 0; set": lambda: scored(NINE, NINE, {"prdc_images": 0}),
    "one row per image each": lambda: Features(ONES, ONES, P),
    "of 1 of 9 images hold NaN or": lambda: Summary.of(ADM, [NINE, SPOILT]),
    "temperature is 0; set it above": lambda: SoftAssignment(0),
    "at least one integer code": lambda: usage_stats(torch.ones(3), 4),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_name_their_cure(message):
    with pytest.raises(ValueError, match=message):
        MISTAKES[message]()
