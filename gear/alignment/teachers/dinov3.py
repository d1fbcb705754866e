"""DINOv3 ViT-B/16 (arXiv 2508.10104), timm's EVA network: rotary positions, four registers.

- images are not resized; their side is any multiple of 16 pixels
- features after the last norm (`x_norm_patchtokens`)
- the rotary periods are rounded to bfloat16, as in facebook's file and network. timm computes them
  in float32, which changes features by about 1 %; weights of timm's file get the rounded periods
- query and value biases are zero in facebook's file and absent from timm's; keys have no bias
"""

import torch

from gear.alignment.teachers.base import PretrainedTeacher
from gear.alignment.teachers.layout import Layout, same

RENAMED = (
    ("reg_token", "storage_tokens"),
    ("rope.periods", "rope_embed.periods"),
    ("gamma_1", "ls1.gamma"),
    ("gamma_2", "ls2.gamma"),
    ("attn.q_bias", "attn.qkv.bias[q]"),
    ("attn.v_bias", "attn.qkv.bias[v]"),
)


def _facebook_names(key):
    for ours, theirs in RENAMED:
        key = key.replace(ours, theirs)
    return (key,)


def _split_biases(tensors, shape):
    """{key: tensor} with `qkv.bias` split into query and value parts.

    Facebook's network masks the key part by `bias_mask`."""
    split = {}
    for key, value in tensors.items():
        if key.endswith("attn.qkv.bias"):
            split[f"{key}[q]"], _, split[f"{key}[v]"] = value.chunk(3)
        elif not key.endswith("attn.qkv.bias_mask"):
            split[key] = value
    return split


def _add_what_timm_leaves_out(tensors, shape):
    """{key: tensor} with facebook's rotary periods, and zero biases if the file has none."""
    from timm.layers import RotaryEmbeddingDinoV3

    dim = shape["embed_dim"]
    periods = RotaryEmbeddingDinoV3(dim // shape["num_heads"]).periods.bfloat16()
    completed = {"rope.periods": periods, **tensors}
    if not any(key.endswith("attn.q_bias") for key in tensors):
        for i in range(shape["depth"]):
            completed[f"blocks.{i}.attn.q_bias"] = torch.zeros(dim)
            completed[f"blocks.{i}.attn.v_bias"] = torch.zeros(dim)
    return completed


class DINOv3(PretrainedTeacher):
    SAYS = "DINOv3 ViT-B/16"
    SHAPE = {"embed_dim": 768, "depth": 12, "num_heads": 12}
    SIZES = (256,)
    LAYOUTS = (
        Layout(
            "facebook's dinov3_vitb16_pretrain_lvd1689m",
            "storage_tokens",
            _facebook_names,
            unused=("mask_token",),
            prepare=_split_biases,
        ),
        Layout(
            "timm's vit_base_patch16_dinov3.lvd1689m",
            "reg_token",
            same,
            prepare=_add_what_timm_leaves_out,
        ),
    )

    @staticmethod
    def build(img_size, **shape):
        import timm

        name = "vit_base_patch16_dinov3_qkvb"
        encoder = timm.create_model(
            name, pretrained=False, num_classes=0, img_size=img_size, **shape
        )
        encoder.rope.register_buffer("periods", encoder.rope.periods)  # saved with the weights
        return encoder
