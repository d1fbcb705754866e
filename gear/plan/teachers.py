"""FLOPs of a teacher's forward pass. The network is built without weights.

Both functions return its Piece (gear/plan/counts.py)."""

from functools import cache

import torch

from gear.alignment.teachers.load import network
from gear.alignment.teachers.objectives import OBJECTIVES
from gear.plan.counts import Piece
from gear.plan.pieces import forward_flops, image, parameters


@cache
def standin(objective, channels, resolution, classes, patch, dim, layers):
    with torch.device("meta"):
        teacher = OBJECTIVES[objective](channels, resolution, classes, patch, dim, layers).eval()
        flops = forward_flops(lambda: teacher(image(channels, resolution)))
    return Piece(parameters(teacher), {"teacher": flops}, width=dim)


@cache
def pretrained(name, resolution):
    kind = network(name)
    size = resolution if resolution in kind.SIZES else kind.SIZES[0]
    with torch.device("meta"):
        teacher = kind({"img_size": size, **kind.SHAPE}, resolution).eval()
        teacher.fit()
        flops = forward_flops(lambda: teacher(image(3, resolution)))
    return Piece(parameters(teacher), {"teacher": flops}, width=teacher.width)
