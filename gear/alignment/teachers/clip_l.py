"""OpenAI's CLIP ViT-L/14 (arXiv 2103.00020), open_clip's network with quick GELU.

- images of 256 pixels are resized to 224; other resolutions are not served, as published
- features are the last block's output before `ln_post`, without CLS, 1024 wide
"""

from gear.alignment.teachers import resolutions
from gear.alignment.teachers.base import PretrainedTeacher
from gear.alignment.teachers.layout import Layout, prefixed

TEXT = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")
REST = ("visual.ln_post.", "visual.proj", "logit_scale", "input_resolution", "context_length")


class CLIPL(PretrainedTeacher):
    SAYS = "CLIP ViT-L/14"
    SHAPE = {"embed_dim": 1024, "depth": 24, "num_heads": 16}
    SIZES = (224,)
    PATCH = 14
    NORMALISE = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    ZSCORE = True
    LAYOUTS = (
        Layout(
            "open_clip's ViT-L-14 of openai (open_clip_model.safetensors)",
            "visual.class_embedding",
            prefixed("visual."),
            unused=(*TEXT, *REST, "vocab_size"),
        ),
    )

    @classmethod
    def check_resolution(cls, shape, resolution):
        resolutions.check("clip_l", resolution, cls.SAYS)

    @staticmethod
    def build(img_size, embed_dim, depth, num_heads):
        from open_clip.transformer import QuickGELU, VisionTransformer

        encoder = VisionTransformer(
            img_size, 14, embed_dim, depth, num_heads, mlp_ratio=4.0, act_layer=QuickGELU
        )
        encoder.prune_intermediate_layers(1, prune_norm=True)  # no ln_post, no projection
        return encoder

    def patches(self, x):
        outputs = self.encoder.forward_intermediates(
            x, indices=1, intermediates_only=True, output_fmt="NLC"
        )
        return outputs["image_intermediates"][0]
