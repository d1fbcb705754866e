"""Counts the tensors of all scores in a joint step of the paper's size: python wide.py RUN

Forward and backward passes of all three updates, on tensors that have a shape only. Prints JSON:
{form: number of new tensors that hold a value for (nearly) every position and code}.
"""

import json
import os
import sys
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gear import config
from gear.data.memory import Batch
from gear.joint import train as joint
from gear.kernels import chunked
from gear.study.registry import Study

IMAGES = 8
CHANGES = {"optim.batch": IMAGES, "loss.lpips": 0.0, "runtime.precision": "bf16"}


class Wide(TorchDispatchMode):
    def __init__(self, positions, codes):
        super().__init__()
        self.size, self.codes, self.seen = 0.99 * positions * codes, codes, 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        found = function(*arguments, **(keywords or {}))
        # views, and tensors that are changed in place, alias an argument
        if not any(value.alias_info for value in function._schema.returns):
            self.seen += sum(map(self.holds_all, tree_leaves(found)))
        return found

    def holds_all(self, x):
        return isinstance(x, torch.Tensor) and self.codes in x.shape and x.numel() >= self.size


class Teacher(torch.nn.Module):
    """Features (B, 256, 768) of images of 256 pixels."""

    width = 768

    def forward(self, images):
        return F.avg_pool2d(images, 16).flatten(2).transpose(1, 2).repeat(1, 1, 256)


def stay(module, *_, **__):
    """In place of Module.to: all is on the CPU, and torch crashed where copies moved."""
    return module


def count(run, form):
    settings = config.difference(Study("paper").runs[run].settings)
    settings = config.build(settings | CHANGES | {"runtime.kernels": form})
    with FakeTensorMode(allow_non_fake_inputs=True):
        trainer = joint.build(settings, teacher=Teacher())
        images = torch.rand(IMAGES, 3, 256, 256)
        batch = Batch(images, torch.arange(IMAGES), np.arange(IMAGES), 0)
        with Wide(IMAGES * 255, settings.tokenizer.codebook_size) as wide:
            trainer.step(batch, 3)
    return wide.seen


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.nn.Module.to = stay
    chunked.ELEMENTS = 2**24  # fewer chunks, to be faster: half of all rows
    print(json.dumps({form: count(sys.argv[1], form) for form in ("reference", "fused")}))
    sys.stdout.flush()
    os._exit(0)
