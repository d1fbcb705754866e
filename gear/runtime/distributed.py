"""Data-parallel training under torchrun: the process's number, and means over all processes.

Each process takes an equal share of every batch, and its losses are means over that share. The mean
of the processes' gradients is therefore the gradient of the whole batch. Gradients are averaged
here and not by DistributedDataParallel (DDP): a GEAR step sends three losses through parts of two
networks, and DDP needs one forward pass of one module. In a single process these functions do
nothing.
"""

import os
from datetime import timedelta

import torch
import torch.distributed as dist

from gear.files.mistakes import Mistake

BUCKET = 2**24  # elements averaged at once: 64 MiB
_CONTROL = []  # the gloo group for control messages, which no GPU has to wait for
# Only rank 0 writes checkpoints, up to 14 GB or more to a network file system; other ranks wait.
PATIENCE = timedelta(minutes=60)


def device():
    """The torch.device of this process: its GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def start():
    """Join the process group, if torchrun started several processes."""
    own_device = device()
    if own_device.type == "cuda":
        torch.cuda.set_device(own_device)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if own_device.type == "cuda" else "gloo", timeout=PATIENCE)
        _CONTROL.append(dist.new_group(backend="gloo", timeout=PATIENCE))


def stop():
    """Leave the process group. All processes must call this, because NCCL waits for all."""
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
    """The slice of a batch of `batch` images for this process. Mistake: unequal shares."""
    if batch % size():
        raise Mistake(
            f"optim.batch {batch} does not divide among {size()} processes; start a number of "
            "processes that divides it."
        )
    each = batch // size()
    return slice(rank() * each, (rank() + 1) * each)


@torch.no_grad()
def average_(tensors):
    """Replace each tensor by its mean over all processes."""
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
    """The mean over processes, and its gradient.

    Each process's loss depends on the tensors of all processes, so gradients are averaged too."""

    @staticmethod
    def forward(ctx, tensor):
        mean = tensor.clone()
        dist.all_reduce(mean)
        return mean / size()

    @staticmethod
    def backward(ctx, gradient):
        return _Mean.forward(ctx, gradient)


def mean(tensor):
    """The mean of a tensor over all processes, differentiable; a new tensor."""
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
    """The largest value of each number over all processes, as floats. No GPU waits."""
    if size() == 1:
        return tuple(map(float, numbers))
    maxima = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(maxima, dist.ReduceOp.MAX, group=_CONTROL[0] if _CONTROL else None)
    return tuple(maxima.tolist())


def gather(item):
    """[item] of all processes, in the order of ranks."""
    if size() == 1:
        return [item]
    items = [None] * size()
    dist.all_gather_object(items, item, group=_CONTROL[0] if _CONTROL else None)
    return items


def barrier():
    """Wait for all processes."""
    if size() > 1:
        dist.barrier()
