"""CLIP score: 100 times the mean cosine of an image and its caption (Hessel et al. 2021, arXiv
2104.08718, without the factor 2.5 and the clamp, and without a prompt before the caption).

OpenAI's CLIP ViT-B/32, open_clip's network with quick GELU; images are read as CLIP reads them:
short side to 224 by PIL's bicubic filter, the square in the middle.
"""

import copy
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from gear.files.mistakes import Mistake
from gear.metrics.weights import load_strictly, verified

ARCHITECTURE = "ViT-B-32-quickgelu"
WHAT = "the CLIP ViT-B/32 weights of openai in open_clip's layout (open_clip_model.safetensors)"
UNUSED = ("input_resolution", "context_length", "vocab_size")  # of openai's own file


class Clip:
    """The frozen network with its ways in: `images` and `captions` -> unit vectors (B, F)."""

    def __init__(self, path, sha256=None, device="cpu", shape=None):
        """shape: open_clip's configuration of a smaller network, in tests."""
        import open_clip

        self.sha256 = verified(path, WHAT, sha256)
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
        pictures = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in images_uint8.cpu()]
        x = torch.stack([self.prepare(picture) for picture in pictures])
        return F.normalize(self.network.encode_image(x.to(self.device)).double(), dim=-1)

    @torch.no_grad()
    def captions(self, captions):
        tokens = self.tokenize(list(captions)).to(self.device)
        return F.normalize(self.network.encode_text(tokens).double(), dim=-1)


def clip_score(clip, batches, captions) -> float:
    """100 x the mean cosine, over batches of uint8 images (B, 3, H, W) and captions in order."""
    total, done = 0.0, 0
    for images in batches:
        said = captions[done : done + len(images)]
        total += (clip.images(images) * clip.captions(said)).sum().item()
        done += len(images)
    assert done == len(captions)
    return 100.0 * total / done


def read_captions(path, count, names=None):
    """Captions of `count` images in their order: lines of text, or JSON {file name: caption}.

    names: of the images, which JSON is looked up by. Mistake where they do not fit."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise Mistake(f"{path} cannot be read as captions ({error}); correct it.") from None
    if isinstance(content, dict):
        if names is None:
            raise Mistake(
                f"{path} has captions by file name, but an archive's images have none; write them "
                "in the archive's order, a line each."
            )
        missing = [name for name in names if name not in content]
        if missing:
            raise Mistake(f"{path} has no caption for {missing[0]}; add it.")
        content = [content[name] for name in names]
    if len(content) != count:
        raise Mistake(
            f"{path} holds {len(content)} captions for {count} images; give one for each image."
        )
    return [str(caption) for caption in content]
