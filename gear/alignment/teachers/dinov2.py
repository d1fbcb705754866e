"""DINOv2 ViT-B/14 (arXiv 2304.07193), timm's network: the paper's teacher.

- images of 256 pixels are resized to 224, 384 to 336, 512 to 448: then a 14-pixel patch is a token
- the 37 x 37 position embedding of the weights is resampled to that grid by timm (bicubic,
  antialiased), as REPA does it
- features after the last norm (`x_norm_patchtokens`)
"""

from gear.alignment.teachers.base import PretrainedTeacher
from gear.alignment.teachers.layout import Layout, same


class DINOv2(PretrainedTeacher):
    SAYS = "DINOv2 ViT-B/14"
    SHAPE = {"embed_dim": 768, "depth": 12, "num_heads": 12}
    SIZES = (518,)
    PATCH = 14
    LAYOUTS = (
        Layout("facebook's dinov2_vitb14_pretrain.pth", "mask_token", same, unused=("mask_token",)),
        Layout("timm's vit_base_patch14_dinov2.lvd142m", "pos_embed", same),
    )

    @staticmethod
    def build(img_size, **shape):
        import timm

        name = "vit_base_patch14_dinov2"
        return timm.create_model(name, pretrained=False, num_classes=0, img_size=img_size, **shape)

    def fit(self):
        self.encoder.set_input_size((self.input_size, self.input_size))
