"""The smoke study's networks with fixed weights, and random images, for the tests of the core."""

import numpy as np
import torch

from gear.alignment.teachers.objectives import MaskedPatch
from gear.ar.transformer import Transformer
from gear.data.memory import Batch
from gear.runtime import rng
from gear.study.stages import STAGES
from gear.tokenizer.assignment import Assignment
from gear.tokenizer.autoencoder import Tokenizer


class RandomImages:
    """The interface of gear.data.memory.ImageSet, without a folder."""

    def __init__(self, settings, count=64):
        data, self.size = settings.data, settings.optim.batch
        shape = (count, data.channels, data.resolution, data.resolution)
        place = np.arange(np.prod(shape)).reshape(shape)
        self.images = torch.from_numpy(rng.uniform(("images",), place)).float() * 2 - 1
        self.classes = [str(label) for label in range(data.classes)]
        self.labels = torch.arange(count) % data.classes

    def batch(self, step):
        epoch, position = divmod(step, len(self.images) // self.size)
        chosen = np.arange(position * self.size, (position + 1) * self.size)
        return Batch(self.images[chosen], self.labels[chosen], chosen, epoch)


def teacher(settings):
    data = settings.data
    torch.manual_seed(7)
    patch = settings.tokenizer.downsampling
    network = MaskedPatch(data.channels, data.resolution, data.classes, patch, 16, 1)
    return network.eval().requires_grad_(False)


def tokenizer(settings, seed=1):
    torch.manual_seed(seed)
    return Tokenizer(settings.tokenizer, settings.data.channels)


def assignment(scores_BNK):
    """One whose A is exactly these scores: each code picks one of K features."""
    return Assignment(scores_BNK, torch.eye(scores_BNK.shape[-1], dtype=scores_BNK.dtype))


def ar(settings, seed=2, head=0.5):
    """An AR in eval mode whose head is not zero, so that its logits say something."""
    torch.manual_seed(seed)
    side = settings.data.resolution // settings.tokenizer.downsampling
    network = Transformer(
        settings.ar, settings.tokenizer.codebook_size, settings.data.classes, side
    )
    torch.nn.init.normal_(network.head.weight, 0.0, head)
    return network.eval()


def trainer(stage, settings, encoder=None):
    torch.manual_seed(3)
    network = teacher(settings) if STAGES[stage].aligns else None
    if not STAGES[stage].owns_tokenizer:
        torch.manual_seed(1)  # the frozen one has the weights of `tokenizer`
    return STAGES[stage].trainer(settings, teacher=network, encoder=encoder)
