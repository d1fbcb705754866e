"""V-JEPA 2.1 ViT-B/16 (arXiv 2603.14482): the image branch of the encoder.

- blocks are timm's EVA blocks
- images are not resized: 256, 512 or 1024 pixels; the network accepts any size from 32 on
- images have their own patch embedding and modality embedding; there are no absolute positions, no
  CLS and no registers
- rotary positions in every block: in each head, one group of channels rotates by the row and one by
  the column; rows and columns are rescaled so that the last is at 15 (256 / 16 - 1) for every grid
- features are the last block's output after `norms_block.3`. The other three norms belong to
  intermediate levels; `patch_embed` and `video_mod_embed` belong to videos. Images do not use them,
  but the file must have them
- the published code rounds the rotary frequencies under bfloat16, by up to 1.8 %; here they stay
  float32

The source of these facts is facebookresearch/vjepa2 (app/vjepa_2_1, commit 204698b). The code here
is written from scratch.

Shapes: B images, H x W pixels, N positions, F feature width, D channels of a head, A of an axis.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from gear.alignment.teachers import resolutions
from gear.alignment.teachers.base import PretrainedTeacher
from gear.alignment.teachers.layout import Layout, prefixed
from gear.files.mistakes import Mistake

PATCH = 16  # pixels
LAST = 15  # position of the last row and of the last column
BASE = 10000  # of the rotary frequencies
LEVELS = 4  # norms in the file; the last is the norm of the output
EPS = 1e-6


def axis_channels(channels):
    """A: channels of one of the three rotated groups (frame, row, column) of a head."""
    return channels // 3 // 2 * 2


def _floats(count, device):
    return torch.arange(count, dtype=torch.float32, device=device)


def frequencies(channels, device=None):
    """(A / 2,) float32 angles of a step of 1 along an axis: 10000^(-f / (A / 2))."""
    pairs = channels // 2
    return BASE ** (-_floats(pairs, device) / pairs)


def rotary_table(rows, columns, channels, device=None):
    """(N, 2 D) float32: sines, then cosines, of each position's angles, for EvaBlock.

    rows, columns: of the patch grid, at least 2 each; channels: D. Positions are in raster order.
    Channels 0 to A - 1 belong to the frame; there is one frame, so they do not rotate. Channels A
    to 2 A - 1 rotate by the row, 2 A to 3 A - 1 by the column, the two channels of an adjacent pair
    by the same angle. The other channels do not rotate.
    Mistake: a single row or column, which has no scale."""
    if min(rows, columns) < 2:
        raise Mistake(
            f"an image of {rows} x {columns} patches has no rotary positions in V-JEPA 2.1; use "
            f"images of at least {2 * PATCH} pixels on each side."
        )
    axis = axis_channels(channels)
    omega = frequencies(axis, device).repeat_interleave(2)
    row, column = (_floats(n, device) * LAST / (n - 1) for n in (rows, columns))
    angles = torch.zeros(rows, columns, channels, dtype=torch.float32, device=device)
    angles[..., axis : 2 * axis] = row[:, None, None] * omega
    angles[..., 2 * axis : 3 * axis] = column[:, None] * omega
    angles_ND = angles.flatten(0, 1)
    return torch.cat([angles_ND.sin(), angles_ND.cos()], -1)


class PatchEmbedding(nn.Module):
    """A linear map of patches, stored as the 3-d convolution of the file."""

    def __init__(self, width, frames):
        super().__init__()
        size = (frames, PATCH, PATCH)
        self.proj = nn.Conv3d(3, width, size, size)

    def forward(self, x_BCHW):
        """(B, N, F) of images, in raster order. Only for frames = 1."""
        weight, bias = self.proj.weight.squeeze(2), self.proj.bias
        return F.conv2d(x_BCHW, weight, bias, stride=PATCH).flatten(2).mT


class ImageEncoder(nn.Module):
    """Preprocessed images (B, 3, H, W) -> features (B, N, F), N = (H / 16) (W / 16).

    Tensors have the file's names. Parts that images do not use are kept, for a strict import and
    for the published number of parameters."""

    def __init__(self, embed_dim, depth, num_heads):
        from timm.models.eva import EvaBlock

        super().__init__()
        norm = partial(nn.LayerNorm, eps=EPS)
        block = partial(
            EvaBlock, embed_dim, num_heads, attn_type="rope", num_prefix_tokens=0, norm_layer=norm
        )
        self.head_channels = embed_dim // num_heads
        self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, embed_dim))  # unused
        self.patch_embed = PatchEmbedding(embed_dim, frames=2)  # unused
        self.patch_embed_img = PatchEmbedding(embed_dim, frames=1)
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.norms_block = nn.ModuleList(norm(embed_dim) for _ in range(LEVELS))  # the last is used

    def forward(self, x_BCHW):
        """Features (B, N, F). Mistake: a side has fewer than 32 pixels."""
        rows, columns = (side // PATCH for side in x_BCHW.shape[-2:])
        table = rotary_table(rows, columns, self.head_channels, x_BCHW.device)
        x_BNF = self.patch_embed_img(x_BCHW) + self.img_mod_embed
        for block in self.blocks:
            x_BNF = block(x_BNF, rope=table)
        return self.norms_block[-1](x_BNF)


class VJEPA2(PretrainedTeacher):
    SAYS = "V-JEPA 2.1 ViT-B/16"
    SHAPE = {"embed_dim": 768, "depth": 12, "num_heads": 12}
    SIZES = (256,)
    ZSCORE = True
    LAYOUTS = (
        Layout(
            "facebookresearch/vjepa2's vjepa2_1_vitb_dist_vitG_384.pt",
            "ema_encoder",
            prefixed("module.backbone."),
            entry="ema_encoder",
        ),
    )

    @classmethod
    def check_resolution(cls, shape, resolution):
        resolutions.check("vjepa2", resolution, cls.SAYS)

    @staticmethod
    def build(img_size, **shape):
        return ImageEncoder(**shape)

    def patches(self, x):
        return self.encoder(x)
