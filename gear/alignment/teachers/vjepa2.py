"""V-JEPA 2.1 ViT-B (arXiv 2603.14482): what is known of it here, and why it is not loaded.

The paper's row takes the single-frame image branch of `vjepa2_1_vitb_dist_vitG_384.pt` (entry
`ema_encoder`): ImageNet normalisation, native 256 pixels, the encoder's output, spatial z-score.
timm 1.0.31 has no V-JEPA 2, and transformers' (5.23) is V-JEPA 2.0. Against that, 2.1 has a patch
embedding of its own for images, a learned embedding of the modality, rotary positions that turn
pairs of channels, and a norm for each of several levels. What its documents leave open is how
positions are scaled from its grid to 16 x 16 and which levels make the output: a guess would give
other features under the same name, so there is none.
"""

from gear.alignment.teachers.base import PretrainedTeacher


class VJEPA2(PretrainedTeacher):
    SAYS = "V-JEPA 2.1 ViT-B/16"
    SHAPE = {"embed_dim": 768, "depth": 12, "num_heads": 12}
    SIZES = (256,)
    ZSCORE = True

    @staticmethod
    def build(img_size, **shape):
        raise ValueError(
            "the teacher V-JEPA 2.1 ViT-B cannot be loaded: no library that this project uses has "
            "its encoder, and its documents do not fix it (gear/alignment/teachers/vjepa2.py); "
            "leave the rows of vjepa2 out, or align to dinov2, dinov3 or siglip2."
        )
