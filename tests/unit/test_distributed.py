"""Several processes: shares, means, batch normalisation.

Two processes on halves of a batch are compared with one process on the whole.
"""

import torch
from torch import multiprocessing, nn

from gear.runtime import distributed
from gear.tokenizer.batchnorm import BatchNorm2d


def images():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(8, 3, 5, 5, generator=generator) * torch.arange(1, 9)[:, None, None, None]


def network():
    torch.manual_seed(4)
    return nn.Sequential(nn.Conv2d(3, 4, 3), BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 3))


def loss_of(model, x, whole):
    """Not linear in the network's output, and different for each image."""
    weight = torch.linspace(-1, 1, whole)[:, None, None, None][distributed.share(whole)]
    return (model(x) * weight).square().mean()


def process(rank, folder, size):
    torch.set_num_threads(1)
    distributed.BUCKET = 20  # so that there are several
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size
    )
    model, x = network(), images()
    loss = loss_of(model, x[distributed.share(len(x))], len(x))
    loss.backward()
    gradients = [p.grad for p in model.parameters()]
    distributed.average_(gradients)
    everyone = torch.tensor([loss.item()])
    distributed.average_([everyone])
    mine = torch.full((2,), float(rank))
    distributed.agree([mine])
    found = {
        "loss": everyone.item(),
        "gradients": gradients,
        "state": model.state_dict(),
        "agreed": mine.tolist(),
        "highest": distributed.highest(rank == 1, False, -rank),
    }
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.stop()


def test_two_processes_are_one_with_the_whole_batch(tmp_path):
    multiprocessing.spawn(process, (str(tmp_path), 2), nprocs=2)
    model, x = network(), images()
    loss = loss_of(model, x, len(x))
    loss.backward()
    plain = nn.BatchNorm2d(4)  # torch's own, alone, on the whole batch
    with torch.no_grad():
        plain(model[0](x))
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert abs(found["loss"] - loss.item()) < 1e-6 * abs(loss.item())
        for mine, whole in zip(found["gradients"], model.parameters(), strict=True):
            torch.testing.assert_close(mine, whole.grad, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found["state"]["1.running_mean"], plain.running_mean)
        torch.testing.assert_close(found["state"]["1.running_var"], plain.running_var)
        assert found["state"]["1.num_batches_tracked"] == 1
        assert found["agreed"] == [0.0, 0.0]
        assert found["highest"] == (1.0, 0.0, 0.0)


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 3)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert distributed.share(9) == slice(3, 6)
    try:
        distributed.share(8)
    except ValueError as error:
        assert "optim.batch 8 does not divide among 3 processes" in str(error)
    else:
        raise AssertionError("8 images were shared by 3 processes")


def test_alone_nothing_happens():
    x = torch.ones(3)
    distributed.average_([x])
    distributed.agree([x])
    distributed.barrier()
    assert x.tolist() == [1, 1, 1] and distributed.rank() == 0 and distributed.size() == 1
    assert distributed.share(8) == slice(0, 8)
    assert distributed.highest(True, -2) == (1.0, -2.0)
