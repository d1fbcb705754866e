"""What pictures of captions are scored with: DINOv2 with GPIC's reference, COCO's two scores.

The networks are small or random, in the layouts of the published files."""

import json

import numpy as np
import open_clip
import pytest
import torch
from test_dino_clip import TINY

from gear.evaluation import coco, importing, networks, reference
from gear.evaluation.score import Scorer
from gear.features import clip as features_clip
from gear.features import dinov2
from gear.metrics.frechet import Statistics, frechet_distance
from gear.metrics.protocol import Features, named

ONE_BLOCK = {"embed_dim": 1024, "depth": 1, "num_heads": 16}
FDD = {"name": "fdd", "neighbours": 3, "prdc_images": 16, "images": 16}


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.fixture
def embeddings():
    return np.random.default_rng(2).normal(size=(40, 1024)).astype(np.float32)


def gpic(path, embeddings, leave_out=()):
    """A file of statistics with the keys of GPIC's."""
    found = Statistics.of(embeddings)
    arrays = {"dino_mu": found.mean, "dino_sigma": found.cov, "dino_embeddings": embeddings}
    np.savez(path, **{k: v for k, v in arrays.items() if k not in leave_out})
    return path


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(dinov2.DINOv2L, "SHAPE", ONE_BLOCK)
    torch.manual_seed(3)
    with torch.random.fork_rng():
        encoder = dinov2.DINOv2L.build(518, **ONE_BLOCK)
    return encoder


def test_pictures_are_scored_against_gpics_statistics(tmp_path, network, images, embeddings):
    torch.save(network.state_dict(), tmp_path / "dino.pth")
    spec = {
        "kind": "dinov2",
        "label": "DINOv2-L",
        "weights": str(tmp_path / "dino.pth"),
        "reference": str(gpic(tmp_path / "stats.npz", embeddings)),
    }
    importing.import_features(spec, "fdd", tmp_path / "features", torch.device("cpu"))
    scorer = Scorer(FDD, tmp_path / "features")
    found = scorer(images.split(5))["fdd"]
    loaded, _ = dinov2.load(tmp_path / "dino.pth")
    own = dinov2.features(loaded, images).pooled_ND
    wanted = frechet_distance(Statistics.of(own), Statistics.of(embeddings))
    assert found["fdd"] == pytest.approx(wanted, rel=1e-6)
    assert set(found) == {"fdd", "precision", "recall", "density", "coverage", "mmd"}
    assert json.loads((tmp_path / "features/run.json").read_text())["kind"] == "dinov2"


def test_a_reference_without_single_features_is_refused(tmp_path, embeddings):
    path = gpic(tmp_path / "stats.npz", embeddings, leave_out=("dino_embeddings",))
    with pytest.raises(ValueError, match="has moments alone, but fdd also compares single images"):
        reference.peek(path, named("fdd"))
    path = gpic(tmp_path / "other.npz", embeddings, leave_out=("dino_sigma",))
    with pytest.raises(ValueError, match="has no sigma, which protocol fdd needs"):
        reference.peek(path, named("fdd"))


def test_features_of_another_kind_are_refused(tmp_path):
    spec = {"kind": "dinov2", "label": "DINOv2-L", "weights": "w", "reference": "r"}
    with pytest.raises(ValueError, match="protocol adm is not computed on DINOv2-L; name another"):
        importing.import_features(spec, "adm", tmp_path, torch.device("cpu"))


def test_cocos_scores_are_those_of_the_protocols(tmp_path, images):
    torch.manual_seed(4)
    torch.save(open_clip.CLIP(**TINY).state_dict(), tmp_path / "clip.pt")
    clip = features_clip.Clip(tmp_path / "clip.pt", shape=TINY)
    captions = [f"a picture of {i}" for i in range(len(images))]

    def extract(batch):
        return Features(batch.float().mean((2, 3)).numpy())

    extractor = networks.Extractor(named("coco"), extract, "")
    real = reference.Reference(
        reference.of_features(extract(255 - images), named("coco")),
    )
    found = coco.scores(extractor, real, clip, lambda: images.split(7), captions)
    one, other = (Statistics.of(extract(x).pooled_ND) for x in (images, 255 - images))
    assert found["coco"] == {"fid": pytest.approx(frechet_distance(one, other), rel=1e-6)}
    cosines = (clip.images(images) * clip.captions(captions)).sum(1)
    assert found["clip"] == {"clip_score": pytest.approx(100 * cosines.mean().item(), rel=1e-6)}
