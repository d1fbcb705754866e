"""Features of the protocol fdd: DINOv2 ViT-L/14 without registers (arXiv 2304.07193).

- images are resized to 224 x 224 by PIL's antialiased bicubic filter, in 8 bits, then normalised
  with the mean and std of ImageNet
- features are the CLS token after the last norm, 1024 wide
- the 37 x 37 position embedding is resampled as in facebook's network (bicubic without antialias,
  scale (16 + 0.1) / 37). timm resamples it differently; the teacher in gear/alignment uses timm
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from gear.alignment.teachers import layout
from gear.alignment.teachers.base import IMAGENET
from gear.alignment.teachers.dinov2 import DINOv2
from gear.features.weights import verified
from gear.files.reading import read_record, whole_numbers
from gear.foreign import source
from gear.metrics.protocol import Features
from gear.runtime import checkpoint

SIZE, OFFSET = 224, 0.1
UNKNOWN = "weights of another training have the same shapes and give another distance"
WHAT = "DINOv2's weights, facebook's dinov2_vitl14_pretrain.pth"


class DINOv2L(DINOv2):
    """The key names of the large network in public files."""

    SAYS = "DINOv2 ViT-L/14"
    SHAPE = {"embed_dim": 1024, "depth": 24, "num_heads": 16}
    LAYOUTS = (
        layout.Layout(
            "facebook's dinov2_vitl14_pretrain.pth",
            "mask_token",
            layout.same,
            unused=("mask_token",),
        ),
        layout.Layout("timm's vit_large_patch14_dinov2.lvd142m", "pos_embed", layout.same),
    )


def resampled(positions_1PF, side):
    """The position embedding (1, 1 + side^2, F) of a smaller grid; CLS is first."""
    cls, grid = positions_1PF[:, :1], positions_1PF[:, 1:]
    old_side = round(grid.shape[1] ** 0.5)
    if old_side != side:
        grid = grid.unflatten(1, (old_side, old_side)).permute(0, 3, 1, 2)
        scale = (side + OFFSET) / old_side
        grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
        assert grid.shape[-2:] == (side, side)
        grid = grid.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.cat([cls, grid], 1)


class Encoder(nn.Module):
    """uint8 RGB images (B, 3, H, W) -> CLS tokens (B, F)."""

    def __init__(self, state, shape):
        """state: the encoder's weights, or None; shape: arguments of DINOv2L.build without
        img_size."""
        super().__init__()
        self.shape = dict(shape)
        with torch.random.fork_rng(devices=[]):
            self.encoder = DINOv2L.build(SIZE, **shape)
        if state is not None:
            positions = resampled(state["pos_embed"], SIZE // DINOv2L.PATCH)
            self.encoder.load_state_dict(state | {"pos_embed": positions})
        for name, value in zip(("mean", "std"), IMAGENET, strict=True):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1))

    def forward(self, images_uint8):
        x = torch.stack([_resized(image) for image in images_uint8.cpu()]).to(self.mean.device)
        return self.encoder.forward_features((x / 255 - self.mean) / self.std)[:, 0]


def _resized(image_3HW):
    picture = Image.fromarray(image_3HW.permute(1, 2, 0).numpy())
    picture = picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()


def load(path, sha256=None, shape=None):
    """(frozen network, sha256) of a local weight file. Mistake: a wrong file.

    shape: arguments of a smaller network, for tests."""
    digest = verified(path, WHAT, sha256, unknown=UNKNOWN)
    shape = shape or DINOv2L.SHAPE
    _, _, state = layout.read(source.read(path), DINOv2L, shape, path)
    return Encoder(state, shape).eval().requires_grad_(False), digest


def load_folder(folder):
    """The frozen network of a folder that gear/evaluation/importing.py wrote."""
    record = read_record(f"{folder}/run.json")
    shape = whole_numbers(record, "shape", tuple(DINOv2L.SHAPE), f"{folder}/run.json")
    network = Encoder(None, shape)
    checkpoint.load_weights(f"{folder}/weights.safetensors", "dinov2", network.encoder)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def features(network, images_uint8):
    """Pooled Features of uint8 RGB images (B, 3, H, W)."""
    return Features(network(images_uint8).float().cpu().numpy())
