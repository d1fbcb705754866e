"""FLOPs of a teacher's forward pass. The network is built without weights."""

from functools import cache

import torch

from gear.alignment.teachers.load import network
from gear.alignment.teachers.objectives import OBJECTIVES
from gear.plan.pieces import Piece, forward_flops, image, parameters


@cache
def _standin(objective, channels, resolution, classes, patch, dim, layers):
    with torch.device("meta"):
        teacher = OBJECTIVES[objective](channels, resolution, classes, patch, dim, layers).eval()
        flops = forward_flops(lambda: teacher(image(channels, resolution)))
    return Piece(parameters(teacher), {"teacher": flops}, width=dim)


@cache
def _pretrained(name, resolution):
    kind = network(name)
    size = resolution if resolution in kind.SIZES else kind.SIZES[0]
    with torch.device("meta"):
        teacher = kind({"img_size": size, **kind.SHAPE}, resolution).eval()
        teacher.fit()
        flops = forward_flops(lambda: teacher(image(3, resolution)))
    return Piece(parameters(teacher), {"teacher": flops}, width=teacher.width)


def teacher(spec, data, patch):
    """The Piece of a teacher.

    spec: a study's teachers.<name>; data: gear.config.Data; patch: pixels of a token's side."""
    if spec["kind"] == "standin":
        shape = (data.channels, data.resolution, data.classes, patch)
        return _standin(spec["objective"], *shape, spec["dim"], spec["layers"])
    return _pretrained(spec["network"], data.resolution)
