"""The metrics against other people's implementations on the same features: torch-fidelity,
clean-fid and prdc. The difference allowed is stated with each."""

import contextlib
import io
import warnings

import cleanfid.fid
import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

from gear.metrics import mmd as ours
from gear.metrics.frechet import Statistics, frechet_distance, frechet_with_bound
from gear.metrics.inception_score import inception_score
from gear.metrics.prdc import prdc
from gear.runtime import rng

N, M, D = 400, 300, 24


@pytest.fixture(scope="module")
def sides():
    """Real and generated features (N, D), (M, D): float32, positive, correlated, as pooled ones."""
    draw = np.random.default_rng(0).normal
    mix = draw(size=(D, D)) / np.sqrt(D)
    real = np.maximum(draw(size=(N, D)) @ mix + 0.4, 0)
    fake = np.maximum(draw(size=(M, D)) @ mix * 1.1 + 0.5, 0)
    return real.astype(np.float32), fake.astype(np.float32)


@pytest.fixture(scope="module")
def logits():
    return 2 * torch.from_numpy(np.random.default_rng(1).normal(size=(120, 30)))


def test_frechet_distance(sides):
    a, b = (Statistics.of(x) for x in sides)
    found = frechet_distance(a, b)
    theirs = [metric_fid.fid_features_to_statistics(torch.from_numpy(x).double()) for x in sides]
    theirs = metric_fid.fid_statistics_to_metric(*theirs, verbose=False)
    assert found == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sqrtm's `disp` goes away in SciPy 1.18
        clean = cleanfid.fid.frechet_distance(a.mean, a.cov, b.mean, b.cov)
    assert found == pytest.approx(clean, rel=1e-9)
    assert abs(found - clean) < frechet_with_bound(a, b)[1]


def test_frechet_distance_of_fewer_images_than_dimensions(sides):
    """COCO at a thousand images: products of such covariances have no real root worth its name."""
    a, b = (Statistics.of(x[:15].astype(np.float64)) for x in sides)
    few = [torch.from_numpy(x[:15]).double() for x in sides]
    theirs = [metric_fid.fid_features_to_statistics(x) for x in few]
    theirs = metric_fid.fid_statistics_to_metric(*theirs, verbose=False)
    assert frechet_distance(a, b) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)


@pytest.mark.parametrize("splits", [1, 4])
def test_inception_score(logits, splits):
    theirs = metric_isc.isc_features_to_metric(logits, splits, shuffle=False)
    found = inception_score(logits.softmax(-1), splits=splits)
    assert found == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert inception_score(logits.softmax(-1), split_size=120 // splits) == found
    rows = torch.from_numpy(np.random.default_rng(2).permutation(120))
    assert inception_score(logits[rows].softmax(-1)) == pytest.approx(
        inception_score(logits.softmax(-1)), rel=1e-12
    )


@pytest.mark.parametrize("k", [3, 5])
def test_precision_recall_density_coverage(sides, k, monkeypatch):
    monkeypatch.setattr("gear.metrics.prdc.SIDE", 128)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = compute_prdc(*sides, nearest_k=k)
    found = prdc(*sides, k=k)
    assert found == pytest.approx(theirs, abs=1e-12) and 0 < found["recall"] < 1
    real, fake = (torch.from_numpy(x) for x in sides)
    precision, recall = metric_prc.calculate_precision_recall_full(fake, real, k)
    assert (found["precision"], found["recall"]) == pytest.approx((precision, recall), abs=1e-6)


def test_mmd(sides):
    kernel = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_coef0": 1.0}
    kernel |= {"kid_kernel_poly_gamma": None}  # 1 / D
    x, y = (features.astype(np.float64) for features in sides)
    whole = ours.mmd_squared(x[:M], y)
    assert whole == pytest.approx(metric_kid.kernel_mmd(x[:M], y, **kernel), rel=1e-9)
    assert ours.mmd(x[:M], y, subsets=3, size=M) == pytest.approx(whole, rel=1e-9)
    theirs = metric_kid.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=300, kid_subset_size=100, rng_seed=0,
        verbose=False, **kernel,
    )  # fmt: skip
    spread = theirs["kernel_inception_distance_std"] / np.sqrt(300)
    found = ours.mmd(x, y, subsets=300, size=100)
    assert abs(found - theirs["kernel_inception_distance_mean"]) < 5 * spread
    assert found == ours.mmd(x, y, subsets=300, size=100)  # subsets have an address


@pytest.mark.parametrize("subsets, whole", [(7, False), (90, True)])
def test_mmd_is_the_mean_of_its_subsets(sides, subsets, whole, monkeypatch):
    """Also where the kernel of all pairs is made once, in blocks that end anywhere."""
    sums, kernel_sum = [], ours.kernel_sum
    monkeypatch.setattr(ours, "kernel_sum", lambda *sides: sums.append(0) or kernel_sum(*sides))
    monkeypatch.setattr(ours, "ROWS", 64)
    monkeypatch.setattr(ours, "COLUMNS", 70)
    found = ours.mmd(*sides, subsets=subsets, size=60)
    assert len(sums) == (0 if whole else 3 * subsets)

    def subset(number):
        for side, features in zip(("real", "fake"), sides, strict=True):
            yield features[rng.permutation(("mmd", side, number), len(features))[:60]]

    one_by_one = [ours.mmd_squared(*subset(number)) for number in range(subsets)]
    assert found == pytest.approx(np.mean(one_by_one), rel=1e-9)


@pytest.mark.parametrize("metric", ["frechet", "prdc", "mmd"])
def test_rotation_and_the_order_of_images_change_nothing(sides, metric):
    compute = {
        "frechet": lambda x, y: [frechet_distance(Statistics.of(x), Statistics.of(y))],
        "prdc": lambda x, y: list(prdc(x, y, 3).values()),
        "mmd": lambda x, y: [ours.mmd_squared(x, y)],
    }[metric]
    rng = np.random.default_rng(3)
    rotation = np.linalg.qr(rng.normal(size=(D, D)))[0]
    x, y = (features.astype(np.float64) for features in sides)
    found = compute(x, y)
    assert compute(x @ rotation, y @ rotation) == pytest.approx(found, rel=1e-9)
    assert compute(rng.permutation(x), rng.permutation(y)) == pytest.approx(found, rel=1e-9)
    moved = compute(x + 1, y + 1)
    assert (moved == pytest.approx(found, rel=1e-9)) == (metric != "mmd")  # which has an origin


def test_mmd_of_single_images_is_refused():
    with pytest.raises(ValueError, match="100 subsets of 1 images make no MMD; give at least 2"):
        ours.mmd(np.ones((1, 3)), np.ones((4, 3)))
