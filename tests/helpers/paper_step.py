"""One optimizer step of a run of the paper study, at its size, on the CPU: batch 1 in float32.

python paper_step.py RUN VGG16    prints what happened as JSON

A process of its own, so that its memory is returned. Images are random, and so is the teacher: it
has a teacher's interface, but is one random matrix on each patch's mean colour.
"""

import json
import resource
import sys
import time
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gear import config
from gear.data.memory import Batch
from gear.runtime.device import setup
from gear.study.registry import Study
from gear.study.stages import STAGES


class Teacher(nn.Module):
    """(B, 3, 256, 256) -> (B, 256, 768)."""

    width = 768

    def __init__(self):
        super().__init__()
        self.register_buffer("matrix", torch.randn(3, self.width))

    def forward(self, x):
        return F.avg_pool2d(x, 16).flatten(2).transpose(1, 2) @ self.matrix


def trainer_of(run, vgg16):
    """The run's trainer, at the start of its stage without any earlier one."""
    changes = {"optim.batch": 1, "runtime.precision": "fp32", "runtime.log_every": 1}
    settings = config.build(config.difference(run.settings) | changes | {"loss.vgg16": vgg16})
    setup(settings)
    return STAGES[run.stage].trainer(settings, teacher=Teacher())


def prints(trainer):
    """{(module, parameter): checksum}: a copy of the weights would need their memory again."""
    return {
        (name, key): zlib.crc32(parameter.detach().numpy())
        for name, module in trainer.modules.items()
        for key, parameter in module.named_parameters()
    }


def main(name, vgg16):
    trainer = trainer_of(Study("paper").runs[name], vgg16)
    images = torch.rand(1, 3, 256, 256) * 2 - 1
    before, start = prints(trainer), time.monotonic()
    # Not number 0: the warm-up's learning rate there is 0 and would change nothing.
    metrics = trainer.step(Batch(images, torch.tensor([207]), np.array([0]), 0), 1)
    seconds, after = time.monotonic() - start, prints(trainer)
    modules = trainer.modules.items()
    result = {
        "seconds": round(seconds, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "metrics": {k: v.item() for k, v in metrics.items()},
        "parameters": {k: sum(p.numel() for p in m.parameters()) for k, m in modules},
        "unchanged": [list(key) for key in before if before[key] == after[key]],
        "layers": trainer.settings.ar.layers,
        "layer": trainer.settings.align.layer,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
