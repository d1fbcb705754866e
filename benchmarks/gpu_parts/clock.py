"""Time, memory and relative errors on a GPU or on a CPU."""

import gc
import statistics
import time

import torch


def synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(function, device, count=5, warmup=1):
    """Median seconds of a call, over `count` calls after `warmup` that are not counted."""
    for _ in range(warmup):
        function()
    found = []
    for _ in range(count):
        synchronize(device)
        began = time.perf_counter()
        function()
        synchronize(device)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def free(device):
    """Give back what is not used any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device):
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")


def live_bytes(device):
    """Bytes of all tensors that are alive; on a CPU of those that Python can reach."""
    gc.collect()
    if device.type == "cuda":
        synchronize(device)
        return torch.cuda.memory_allocated()
    storages = {}
    for item in gc.get_objects():
        if type(item) in (torch.Tensor, torch.nn.Parameter):
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def relative_error(found, wanted):
    """||found - wanted|| / ||wanted|| in float64 on the CPU."""
    found, wanted = found.detach().cpu().double(), wanted.detach().cpu().double()
    if found.shape != wanted.shape:
        raise ValueError(f"shapes {tuple(found.shape)} and {tuple(wanted.shape)} differ")
    size = wanted.norm()
    return ((found - wanted).norm() / size if size > 0 else found.norm()).item()
