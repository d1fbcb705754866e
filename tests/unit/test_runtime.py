"""The engine's parts: addressed random numbers, optimizer helpers, whole files, the lock.

Random numbers are compared with recorded ones and by their distribution, optimizer helpers with
their formulas; files and locks are torn or held by another process, and the sentence is compared.
"""

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from gear.files import aside as files
from gear.files.reading import read_json
from gear.runtime import checkpoint, optim, rng

approx = pytest.approx

# random numbers


def test_uniform_is_a_function_of_its_address_alone():
    images, positions = np.arange(50), np.arange(8)
    whole = rng.uniform(("purpose", 3), images[:, None], positions[None])
    assert whole.shape == (50, 8) and whole.dtype == np.float64
    part = rng.uniform(("purpose", 3), images[::-1][:7, None], positions[None, 2:5])
    assert np.array_equal(part, whole[::-1][:7, 2:5])
    assert rng.uniform(("purpose", 3), 4, 5) == whole[4, 5]
    assert rng.uniform(("purpose", 3), np.uint64(4), np.int32(5)) == whole[4, 5]
    for other in (("purpose", 4), ("another", 3), ("purpose", 3, 0), ("purpose3",)):
        assert not np.isclose(rng.uniform(other, images[:, None], positions), whole).any()


def test_uniform_is_uniform_and_its_addresses_are_independent():
    u = rng.uniform(("u",), np.arange(200)[:, None], np.arange(100)[None])
    assert u.min() >= 0 and u.max() < 1 and len(np.unique(u)) == u.size
    assert scipy.stats.kstest(u.ravel(), "uniform").pvalue > 0.01
    for a, b in (
        (u[:-1], u[1:]),
        (u[:, :-1], u[:, 1:]),
        (u, rng.uniform(("v",), *np.ogrid[:200, :100])),
    ):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02


def test_the_numbers_are_the_ones_that_the_results_were_made_from():
    # A failure here means that every result has to be made again.
    assert rng.seed_of("dropout", 11, 3) == 2319348107188052747
    assert rng.uniform(("sampling",), np.arange(2), 7).tolist() == [
        0.6694556514867854,
        0.34758223444726155,
    ]
    assert rng.permutation((11, "order", 0), 8).tolist() == [4, 6, 2, 1, 5, 7, 3, 0]


def test_permutation_is_a_permutation():
    found = [rng.permutation((0, "order", epoch), 1000) for epoch in range(2)]
    for order in found:
        assert sorted(order.tolist()) == list(range(1000))
    assert (found[0] == found[1]).mean() < 0.02
    assert np.array_equal(found[0], rng.permutation((0, "order", 0), 1000))


def test_torch_draws_by_address():
    def draw(*address):
        rng.seed_torch(*address)
        return torch.rand(3).tolist()

    assert draw(0, "dropout", 4) == draw(0, "dropout", 4) != draw(0, "dropout", 5)


def test_torch_is_seeded_as_by_its_own_function():
    rng.seed_torch("a", 1)
    drawn = torch.rand(3)
    torch.manual_seed(rng.seed_of("a", 1))
    assert torch.equal(torch.rand(3), drawn)


# optimizer


def test_warmup_rises_from_zero_to_one():
    assert [optim.warmup_factor(s, 4) for s in (0, 1, 3, 4, 9)] == [0.0, 0.25, 0.75, 1.0, 1.0]
    assert optim.warmup_factor(0, 0) == 1.0


def test_average_moves_by_its_decay():
    module = nn.BatchNorm1d(1)
    average = optim.EMA(module, 0.9)
    assert not average.module.training and not average.module.weight.requires_grad
    expected = 1.0
    for step, value in enumerate((3.0, -1.0)):
        module.weight.data.fill_(value)
        module.running_var.fill_(value)
        module.num_batches_tracked.fill_(7)
        average.update(module, step)
        expected = 0.9 * expected + 0.1 * value
        assert average.module.weight.item() == approx(expected)
        assert average.module.running_var.item() == approx(expected)
    assert average.module.num_batches_tracked.item() == 0 and module.weight.requires_grad


def test_average_follows_weights_that_are_loaded_between_two_updates():
    module = nn.Linear(2, 1, bias=False)
    average = optim.EMA(module, 0.5)
    average.update(module, 0)
    module.load_state_dict({"weight": torch.full((1, 2), 3.0)})
    average.module.load_state_dict({"weight": torch.full((1, 2), 1.0)})
    average.update(module, 1)
    assert average.module.weight.tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize("step, decay", [(0, 0.1), (10, 11 / 20), (1000, 0.9)])
def test_average_of_a_short_training_warms_up(step, decay):
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    average = optim.EMA(module, 0.9, warmup=True)
    module.weight.data.fill_(1.0)
    average.update(module, step)
    assert average.module.weight.item() == approx(1 - decay)


def test_update_clips_the_gradient_and_reports_its_norm():
    weight = nn.Parameter(torch.zeros(2))
    sgd = torch.optim.SGD([weight], lr=99.0)
    norm = optim.update([(weight * torch.tensor([3.0, 4.0])).sum()], 1, sgd, 0.5, 1.0)
    assert norm.item() == approx(5.0)
    assert weight.tolist() == approx([-0.5 * 0.6, -0.5 * 0.8], abs=1e-5)
    small = [(weight * torch.tensor([0.0, 0.5])).sum()]
    optim.update(small, 1, sgd, 1.0, 1.0)  # as it is
    assert weight.tolist() == approx([-0.3, -0.9], abs=1e-5)


def test_frozen_modules_pass_gradients_and_are_themselves_again():
    module, x = nn.Linear(2, 2), torch.ones(1, 2, requires_grad=True)
    module.bias.requires_grad_(False)
    with pytest.raises(KeyError), optim.frozen(module):
        module(x).sum().backward()
        raise KeyError
    assert x.grad.any() and module.weight.grad is None
    assert module.weight.requires_grad and not module.bias.requires_grad


# files


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "folder" / "a.json"
    files.write(path, "old")
    with pytest.raises(RuntimeError), files.aside(path) as part:
        part.write_text("half")
        assert path.read_text() == "old" and part.parent == path.parent
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(path.parent) == ["a.json"]
    files.write_json(path, {"b": 1, "a": "τ"})
    assert path.read_text(encoding="utf-8") == '{\n "a": "τ",\n "b": 1\n}\n'
    assert read_json(path) == {"a": "τ", "b": 1}
    assert os.listdir(path.parent) == ["a.json"]


def test_json_that_is_missing_or_torn_is_named(tmp_path):
    with pytest.raises(ValueError, match="run.json is missing; make it with Snakemake or pull it"):
        read_json(tmp_path / "run.json")
    (tmp_path / "run.json").write_text('{"a": 1')
    with pytest.raises(ValueError, match="run.json is no JSON .*; remove it and run"):
        read_json(tmp_path / "run.json")


@pytest.fixture
def saved(tmp_path):
    modules = {"a": nn.Linear(2, 3), "ab": nn.Linear(2, 3), "live.a": nn.Linear(2, 3)}
    checkpoint.save_weights(tmp_path / "weights.safetensors", modules)
    return tmp_path / "weights.safetensors", modules


@pytest.mark.parametrize("prefix", ["a", "ab", "live.a"])
def test_weights_come_back_under_their_prefix(saved, prefix):
    path, modules = saved
    found = checkpoint.load_weights(path, prefix, nn.Linear(2, 3))
    assert torch.equal(found.weight, modules[prefix].weight)
    assert torch.equal(found.bias, modules[prefix].bias)


@pytest.mark.parametrize(
    "prefix, module, first",
    [
        ("a", nn.Linear(2, 3, bias=False), "bias"),  # surplus
        ("a", nn.Sequential(nn.Linear(2, 3)), "0.bias"),  # missing
        ("a", nn.Linear(5, 3), "weight"),  # another shape
        ("c", nn.Linear(2, 3), "bias"),  # nothing
    ],
)
def test_weights_that_do_not_fit_are_refused(saved, prefix, module, first):
    before = [p.clone() for p in module.parameters()]
    with pytest.raises(ValueError) as error:
        checkpoint.load_weights(saved[0], prefix, module)
    assert str(error.value).endswith(
        f"the weights of '{prefix}' do not fit these settings (first: '{first}'); the file is of "
        "another run."
    )
    assert all(torch.equal(p, b) for p, b in zip(module.parameters(), before, strict=True))


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_torn_weights_are_refused(saved, size):
    saved[0].write_bytes(saved[0].read_bytes()[:size])
    with pytest.raises(ValueError, match="is no complete safetensors file .*; remove its folder"):
        checkpoint.load_weights(saved[0], "a", nn.Linear(2, 3))


def test_weights_are_readable_as_any_other_file(tmp_path):
    checkpoint.save_weights(tmp_path / "w.safetensors", {"a": nn.Linear(2, 3)})
    (tmp_path / "plain").touch()
    modes = {p.stat().st_mode for p in tmp_path.iterdir()}
    assert len(modes) == 1


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ValueError, match="w.safetensors is missing; make it with Snakemake or"):
        checkpoint.load_weights(tmp_path / "w.safetensors", "a", nn.Linear(2, 3))


@pytest.mark.parametrize("size", [0, 300, -1])
def test_a_torn_state_is_named(tmp_path, size):
    checkpoint.save_state(tmp_path / "latest.pt", {"a": torch.zeros(1000)})
    (tmp_path / "latest.pt").write_bytes((tmp_path / "latest.pt").read_bytes()[:size])
    with pytest.raises(ValueError, match="latest.pt cannot be read .*; delete it and run again"):
        checkpoint.load_state(tmp_path / "latest.pt")


# the lock


def hold(folder, ready):
    with checkpoint.run_lock(folder):
        ready.set()
        signal.pause()


def test_a_second_trainer_of_a_run_is_refused_until_the_first_is_gone(tmp_path):
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    first = fork.Process(target=hold, args=(tmp_path, ready), daemon=True)
    first.start()
    assert ready.wait(20)
    with pytest.raises(ValueError) as error, checkpoint.run_lock(tmp_path):
        pass
    assert str(error.value).startswith(f"{tmp_path} is being written by process {first.pid} on ")
    assert str(error.value).endswith("; wait for it or stop it.")
    with checkpoint.run_lock(tmp_path / "another"):
        pass
    os.kill(first.pid, signal.SIGKILL)
    first.join(20)
    with checkpoint.run_lock(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / "lock").read_text()


def test_a_job_of_a_cluster_waits_for_the_lock(tmp_path, capsys):
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    first = fork.Process(target=hold, args=(tmp_path, ready), daemon=True)
    first.start()
    assert ready.wait(20)
    threading.Timer(1.5, first.kill).start()
    began = time.monotonic()
    with checkpoint.run_lock(tmp_path, until=time.time() + 60):
        assert 1.0 < time.monotonic() - began < 30
    said = capsys.readouterr().err
    assert said.count(f"waits for process {first.pid} on ") == 1


@pytest.mark.parametrize("name", ["lock", "metrics.jsonl"])
def test_a_folder_in_the_place_of_a_trainings_file_is_named(tmp_path, name):
    (tmp_path / name).mkdir()
    said = f"{name} is a folder, where the training writes a file"
    with pytest.raises(ValueError, match=said), checkpoint.run_lock(tmp_path):
        pass
