"""The entropy loss: worked cases, and its batch over several processes."""

from math import log

import pytest
import tiny
import torch
from torch import distributed, multiprocessing

from gear.tokenizer import entropy

approx = pytest.approx


def hand(p):
    return -sum(x * log(x) for x in p if x)


def entropy_loss(scores_NK, temperature):
    return entropy.entropy_loss(tiny.assignment(scores_NK[None]), temperature)


def test_entropy_loss_on_worked_cases():
    K = 4
    certain = torch.eye(K) * 100
    assert entropy_loss(certain, 1.0).item() == approx(-log(K), abs=1e-4)  # even and sure: best
    assert entropy_loss(certain[[0, 0, 0, 0]], 1.0).item() == approx(0, abs=1e-4)  # one code
    assert entropy_loss(torch.zeros(3, K), 1.0).item() == approx(0, abs=1e-4)  # unsure
    p = torch.tensor([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])
    expected = (2 * hand([0.75, 0.25]) + log(2)) / 3 - log(2)
    assert entropy_loss(p.log() * 0.01, 0.01).item() == approx(expected, abs=1e-4)
    p = torch.tensor([[0.9, 0.1], [0.7, 0.3]])
    expected = (hand([0.9, 0.1]) + hand([0.7, 0.3])) / 2 - hand([0.8, 0.2])
    assert entropy_loss(p.log(), 1.0).item() == approx(expected, abs=1e-4)


def test_it_is_float32_under_autocast():
    scores = torch.randn(50, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert (scores @ scores.T).dtype == torch.bfloat16  # the switch is on
        inside = entropy_loss(scores, 0.01)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, entropy_loss(scores, 0.01))


# the batch of two processes

TEMPERATURE, TOKENS = 0.5, 24


def model_and_batch():
    """Scores are linear in the features; the two halves prefer different codes."""
    torch.manual_seed(5)
    features = torch.randn(TOKENS, 6) + torch.linspace(-2, 2, TOKENS)[:, None]
    return torch.nn.Linear(6, 8), features


def process(rank, folder):
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    model, features = model_and_batch()
    loss = entropy_loss(model(features.chunk(2)[rank]), TEMPERATURE)
    loss.backward()
    gradients = [p.grad for p in model.parameters()]
    for gradient in gradients:  # as DistributedDataParallel would
        distributed.all_reduce(gradient)
        gradient /= 2
    torch.save((loss.detach(), gradients), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_are_as_one_with_the_whole_batch(tmp_path):
    multiprocessing.spawn(process, (str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    model, features = model_and_batch()
    expected = entropy_loss(model(features), TEMPERATURE)
    apart = [entropy_loss(model(half), TEMPERATURE) for half in features.chunk(2)]
    assert abs(sum(apart) / 2 - expected) > 0.05  # the mean over processes matters
    expected.backward()
    loss = (found[0][0] + found[1][0]) / 2
    torch.testing.assert_close(loss, expected.detach(), rtol=0, atol=1e-6)
    for _, gradients in found:
        for gradient, parameter in zip(gradients, model.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=0, atol=1e-6)
    assert min(p.grad.abs().max() for p in model.parameters()) > 1e-3
