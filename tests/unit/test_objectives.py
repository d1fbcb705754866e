"""The stand-in teachers: what each objective sees, learns from and leaves alone.

Inputs that must matter, or must not, are changed one at a time and the losses compared.
"""

import dataclasses
import json

import pytest
import torch

from gear import config
from gear.alignment.teachers import objectives
from gear.alignment.teachers.load import load_teacher
from gear.alignment.teachers.objectives import OBJECTIVES
from gear.alignment.teachers.standin import train
from gear.data import digits
from gear.files import reading as files
from gear.runtime import optim
from gear.study import jobs
from gear.study.registry import Study

SHAPE = {"channels": 1, "resolution": 16, "classes": 10, "patch": 4, "dim": 16, "layers": 1}


def teacher(objective, seed=0):
    torch.manual_seed(seed)
    return OBJECTIVES[objective](**SHAPE)


def batch(count=32):
    """Images, labels, and which of the 16 patches are hidden."""
    images = torch.rand(count, 1, 16, 16) * 2 - 1
    return images, torch.arange(count) % 10, torch.rand(count, 16) < 0.4


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_can_be_learned_and_changes_the_encoder(name):
    network = teacher(name)
    target = optim.EMA(network, network.DECAY).module if network.DECAY else None
    x, labels, masked = batch()
    before = network.encode(x).detach()
    optimizer, seen = torch.optim.Adam(network.parameters(), 3e-3), []
    for _ in range(40):
        loss = network.loss(x, labels, masked, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert seen[-1] < 0.9 * seen[0]
    assert (network.encode(x) - before).abs().mean() > 0.05
    if target is not None:
        torch.testing.assert_close(target.encode(x), before)  # no gradient reaches the average


@pytest.mark.parametrize("name", ["masked_patch", "self_distillation", "feature_prediction"])
def test_hidden_patches_are_hidden_from_the_network_and_not_from_its_target(name):
    network = teacher(name)
    x, labels, masked = batch()
    other = torch.where(
        masked.view(-1, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3), -x, x
    )
    assert torch.equal(network.encode(x, masked), network.encode(other, masked))
    target = optim.EMA(network, 0.9).module
    losses = [network.loss(v, labels, masked, target) for v in (x, other)]
    assert (losses[0] - losses[1]).abs() > 1e-6


@pytest.mark.parametrize("name", ["self_distillation", "feature_prediction"])
def test_objectives_that_use_no_label_do_not_depend_on_it(name):
    network = teacher(name)
    x, labels, masked = batch()
    target = optim.EMA(network, 0.9).module
    first = network.loss(x, labels, masked, target)
    assert torch.equal(first, network.loss(x, labels.flip(0), masked, target))


def test_assignments_are_balanced():
    p = objectives.sinkhorn(torch.randn(256, 8) * 2 + torch.arange(8.0), rounds=30)
    torch.testing.assert_close(p.sum(1), torch.ones(256))
    torch.testing.assert_close(p.sum(0), torch.full((8,), 32.0), rtol=1e-3, atol=0)


def test_a_caption_is_the_class_and_the_ink_of_each_quarter():
    x = torch.full((2, 1, 16, 16), -1.0)  # no ink
    x[0, :, :8, 8:] = 1.0  # all ink, at the top right
    words = teacher("image_caption").captions(x, torch.tensor([7, 2]))
    assert words.tolist() == [[7, 10, 17, 18, 22], [2, 10, 14, 18, 22]]


def test_pairs_with_one_caption_are_both_right():
    network = teacher("image_caption")
    x, labels, masked = batch(2)
    once = network.loss(x[:1], labels[:1], masked[:1])
    twice = network.loss(x[:1].repeat(2, 1, 1, 1), labels[:1].repeat(2), masked)
    torch.testing.assert_close(twice, 2 * once)  # each of the two images with each of two captions


def test_another_resolution_has_a_feature_for_each_token():
    network = teacher("masked_patch").eval()
    x = torch.rand(2, 1, 24, 24)
    before = network.position.clone()
    assert network.fit(16).position.equal(before)
    torch.nn.init.constant_(network.position[:, :, :8], 3.0)
    torch.nn.init.zeros_(network.position[:, :, 8:])
    network.position.data[0, :4, 8] = 1.0  # the upper row of the grid
    network.fit(24)
    assert network(x).shape == (2, 36, 16)
    torch.testing.assert_close(network.position[..., :8], torch.full((1, 36, 8), 3.0))
    row = network.position[0, :, 8].view(6, 6)
    assert row[0].min() > 0.8 and row[3:].abs().max() < 0.1  # up stays up


def test_the_job_writes_what_load_teacher_reads(tmp_path):
    study = Study("demo")
    digits.prepare(tmp_path / "data", size=16, train=80, val=10, seed=0)
    for name, standin in study.spec["teachers"].items():
        job = json.loads(jobs.teacher(study, name))
        settings = config.build(job["settings"] | {"data.path": str(tmp_path / "data")})
        train(settings, job["spec"] | {"steps": 2, "dim": 16, "batch": 16}, tmp_path / name)
        network = load_teacher(tmp_path / name, settings.data)
        assert isinstance(network, OBJECTIVES[standin["objective"]]) and not network.training
        features = network(torch.rand(3, 1, 16, 16))
        assert features.shape == (3, 16, 16) and features.isfinite().all()
        larger = dataclasses.replace(settings.data, resolution=24)
        assert load_teacher(tmp_path / name, larger)(torch.rand(3, 1, 24, 24)).shape == (3, 36, 16)
        record = files.read_json(tmp_path / name / "run.json")
        assert record["label"] == standin["label"] and "stand-in teacher (" in record["label"]
    assert len({s["objective"] for s in study.spec["teachers"].values()}) == 4
