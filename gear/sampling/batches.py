"""How many images are drawn at once."""

import numpy as np
import torch

MOST = {"cuda": 4096, "cpu": 256}  # images at once; more are not faster
SHARE = 0.6  # of the free memory
COPIES = 6  # float64 copies of the logits while a token is chosen
WIDTHS = 16  # numbers that the widest layers hold at once for a position, in units of the width D


def bytes_of_one(ar, slots, guided):
    """About how many bytes the drawing of one image needs; slots: of the longest prefix."""
    config, length = ar.config, slots + ar.length
    weight = ar.embedding.weight
    cache = 2 * config.layers * length * config.dim * weight.element_size()
    prefill = slots * WIDTHS * config.dim * weight.element_size() + length**2
    logits = 8 * COPIES * weight.shape[0]
    return (2 if guided else 1) * (cache + prefill + logits)


def free(device):
    """Bytes of memory that are free on a torch.device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with open("/proc/meminfo", encoding="ascii") as file:
        found = dict(line.split(":") for line in file)
    return 1024 * int(found["MemAvailable"].split()[0])


def fitting(ar, slots, guided):
    """The largest power of two of images that should fit into memory at once, at least 1."""
    device = ar.embedding.weight.device
    fit = SHARE * free(device) / bytes_of_one(ar, slots, guided)
    return 2 ** int(np.log2(np.clip(fit, 1, MOST[device.type])))


def to_try(ar, slots, guided, images):
    """The batch to begin with: on a CPU a fixed one, on a GPU one that is hardly too small.

    On a GPU a batch that does not fit is an error, after which half of it can be tried. On a CPU it
    would end the process."""
    if not on_gpu(ar.embedding.weight.device):
        return MOST["cpu"]
    enough = 2 ** int(np.ceil(np.log2(images)))
    return min(MOST["cuda"], enough, 2 * fitting(ar, slots, guided))


def on_gpu(device):
    return device.type == "cuda" and torch.cuda.is_available()
