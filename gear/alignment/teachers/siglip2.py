"""SigLIP2 ViT-B/16 (arXiv 2502.14786), timm's network with the tanh GELU of the published weights.

- images are not resized: 256 pixels need the weights of 256 pixels, 512 those of 512
- features after the last norm (Hugging Face's `last_hidden_state`), without the pooling head
"""

from gear.alignment.teachers.base import PretrainedTeacher
from gear.alignment.teachers.layout import Layout, prefixed, same
from gear.files.mistakes import Mistake

RENAMED = (
    ("patch_embed.proj.", "embeddings.patch_embedding."),
    ("blocks.", "encoder.layers."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".attn.proj.", ".self_attn.out_proj."),
)


def _transformers_names(key):
    if key == "pos_embed":
        return ("vision_model.embeddings.position_embedding.weight",)
    if key.startswith("norm."):
        return (f"vision_model.post_layernorm.{key[5:]}",)
    for ours, theirs in RENAMED:
        key = key.replace(ours, theirs)
    key = f"vision_model.{key}"
    if ".attn.qkv." in key:
        return tuple(key.replace(".attn.qkv.", f".self_attn.{x}_proj.") for x in "qkv")
    return (key,)


def _with_batch_axis(tensors, shape):
    """{key: tensor} with the positions (N, F) as (1, N, F)."""
    key = "vision_model.embeddings.position_embedding.weight"
    return {k: v[None] if k == key else v for k, v in tensors.items()}


class SigLIP2(PretrainedTeacher):
    SAYS = "SigLIP2 ViT-B/16"
    SHAPE = {"embed_dim": 768, "depth": 12, "num_heads": 12}
    SIZES = (256, 512)
    NORMALISE = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    ZSCORE = True
    LAYOUTS = (
        Layout(
            "transformers' google/siglip2-base-patch16-256 or -512",
            "vision_model.embeddings.patch_embedding.weight",
            _transformers_names,
            unused=("vision_model.head.", "text_model.", "logit_scale", "logit_bias"),
            prepare=_with_batch_axis,
        ),
        Layout(
            "open_clip's ViT-B-16-SigLIP2-256 or -512",
            "visual.trunk.pos_embed",
            prefixed("visual.trunk."),
            unused=("visual.trunk.attn_pool.", "text.", "logit_scale", "logit_bias"),
        ),
        Layout(
            "timm's vit_base_patch16_siglip_256.v2_webli or _512",
            "pos_embed",
            same,
            unused=("attn_pool.",),
        ),
    )

    @classmethod
    def check_resolution(cls, shape, resolution):
        if resolution != shape["img_size"]:
            raise Mistake(
                f"the weights of teacher {cls.SAYS} are for {shape['img_size']} pixels, "
                f"data.resolution is {resolution}; import those of google/siglip2-base-patch16-"
                f"{resolution} if there are any (256, 512), or align to dinov2."
            )

    @staticmethod
    def build(img_size, **shape):
        import timm

        name = "vit_base_patch16_siglip_256"
        return timm.create_model(
            name,
            pretrained=False,
            num_classes=0,
            img_size=img_size,
            global_pool="",
            act_layer="gelu_tanh",
            **shape,
        )
