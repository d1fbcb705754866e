"""Data-parallel training under torchrun: which process this is, and means over all of them.

Each process takes an equal share of every batch and its losses are means over that share, so the
mean of the processes' gradients is the gradient of the whole batch. Gradients are averaged here and
not by DistributedDataParallel, because a GEAR step sends three losses through parts of two networks
and DDP wants one forward pass of one module. Alone, without torchrun, everything here does nothing.
"""

import os
from datetime import timedelta

import torch
import torch.distributed as dist

from gear.files.mistakes import Mistake

BUCKET = 2**24  # elements averaged at once: 64 MiB
_CONTROL = []  # the group for words between processes that no GPU has to wait for
# Rank 0 alone writes checkpoints, 14 GB and more on a network file system, while the others wait.
PATIENCE = timedelta(minutes=60)


def device():
    """This process's GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def start():
    """Join the processes that torchrun started, if it did."""
    own_device = device()
    if own_device.type == "cuda":
        torch.cuda.set_device(own_device)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if own_device.type == "cuda" else "gloo", timeout=PATIENCE)
        _CONTROL.append(dist.new_group(backend="gloo", timeout=PATIENCE))


def stop():
    """Leave the group, where all processes are known to get here: NCCL waits for them."""
    _CONTROL.clear()
    if dist.is_initialized():
        dist.destroy_process_group()


def rank():
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size():
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(batch):
    """Slice of a batch of `batch` images that is this process's. Mistake: unequal shares."""
    if batch % size():
        raise Mistake(
            f"optim.batch {batch} does not divide among {size()} processes; start a number of "
            "processes that divides it."
        )
    each = batch // size()
    return slice(rank() * each, (rank() + 1) * each)


@torch.no_grad()
def average_(tensors):
    """Replace each tensor by its mean over all processes, a bucket of them at a time."""
    if size() == 1:
        return
    bucket, elements = [], 0
    for tensor in tensors:
        bucket.append(tensor)
        elements += tensor.numel()
        if elements >= BUCKET:
            _average(bucket)
            bucket, elements = [], 0
    if bucket:
        _average(bucket)


def _average(bucket):
    flat = torch.cat([t.flatten() for t in bucket])
    dist.all_reduce(flat)
    flat /= size()
    parts = flat.split([t.numel() for t in bucket])
    torch._foreach_copy_(bucket, [p.view_as(t) for p, t in zip(parts, bucket, strict=True)])


class _Mean(torch.autograd.Function):
    """Each process's loss depends on every process's tensor, so gradients are averaged too."""

    @staticmethod
    def forward(ctx, tensor):
        mean = tensor.clone()
        dist.all_reduce(mean)
        return mean / size()

    @staticmethod
    def backward(ctx, gradient):
        return _Mean.forward(ctx, gradient)


def mean(tensor):
    """The mean over all processes, differentiable: a new tensor."""
    return tensor if size() == 1 else _Mean.apply(tensor)


@torch.no_grad()
def sum_(tensor):
    """Replace a tensor by its sum over all processes."""
    if size() > 1:
        dist.all_reduce(tensor)


@torch.no_grad()
def agree(tensors):
    """Give every process the tensors of rank 0."""
    if size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def highest(*numbers):
    """For each number the highest that any process has, as floats. No GPU waits for it."""
    if size() == 1:
        return tuple(map(float, numbers))
    maxima = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(maxima, dist.ReduceOp.MAX, group=_CONTROL[0] if _CONTROL else None)
    return tuple(maxima.tolist())


def gather(item):
    """What each process gives, in the order of their numbers: a list, in every process."""
    if size() == 1:
        return [item]
    items = [None] * size()
    dist.all_gather_object(items, item, group=_CONTROL[0] if _CONTROL else None)
    return items


def barrier():
    """Wait for all processes."""
    if size() > 1:
        dist.barrier()
