"""CLIP ViT-B/32 of OpenAI (arXiv 2103.00020), open_clip's network with quick GELU.

Images are preprocessed as in CLIP: PIL's bicubic filter resizes the short side to 224, then the
square in the middle is cut.
"""

import copy

import torch
import torch.nn.functional as F
from PIL import Image

from gear.features.weights import load_strictly, verified

ARCHITECTURE = "ViT-B-32-quickgelu"
WHAT = "the CLIP ViT-B/32 weights of openai in open_clip's layout (open_clip_model.safetensors)"
UNKNOWN = (
    "weights trained with another activation or on other images have the same shapes and give "
    "another score"
)
UNUSED = ("input_resolution", "context_length", "vocab_size")  # keys of openai's own file


class Clip:
    """The frozen network: `images` and `captions` return unit vectors (B, F), float64."""

    def __init__(self, path, sha256=None, device="cpu", shape=None):
        """path: local weights; shape: open_clip's configuration of a smaller network, for tests.

        Mistake: the file is missing, or has another sha256 or other weights."""
        import open_clip

        self.sha256 = verified(path, WHAT, sha256, unknown=UNKNOWN)
        shape = copy.deepcopy(shape or open_clip.get_model_config(ARCHITECTURE))
        with torch.random.fork_rng(devices=[]):
            network = open_clip.CLIP(**shape)
        load_strictly(path, network, WHAT, UNUSED)
        self.network = network.eval().requires_grad_(False).to(device)
        self.device = device
        self.prepare = open_clip.image_transform(shape["vision_cfg"]["image_size"], is_train=False)
        self.tokenize = open_clip.get_tokenizer("ViT-B-32")

    @torch.no_grad()
    def images(self, images_uint8):
        """Unit vectors (B, F) of RGB images (B, 3, H, W)."""
        pictures = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in images_uint8.cpu()]
        x = torch.stack([self.prepare(picture) for picture in pictures])
        return F.normalize(self.network.encode_image(x.to(self.device)).double(), dim=-1)

    @torch.no_grad()
    def captions(self, captions):
        """Unit vectors (B, F) of B texts."""
        tokens = self.tokenize(list(captions)).to(self.device)
        return F.normalize(self.network.encode_text(tokens).double(), dim=-1)
