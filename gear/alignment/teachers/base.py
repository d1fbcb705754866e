"""The base class of pretrained teachers: images in [-1, 1] -> features on the token grid.

- images are mapped to [0, 1], normalised as in the encoder's training, and resized (bicubic, no
  antialias); then the encoder's patch grid is the token grid, one token per 16 x 16 pixels
- features are those of the patches, in raster order, without CLS and registers
- SigLIP2, V-JEPA and CLIP features get the spatial z-score of iREPA, (z - 0.6 mean) / std

Shapes: B images, H x W pixels, N positions, F feature width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gear.files.mistakes import Mistake
from gear.runtime import checkpoint

PIXELS_PER_TOKEN = 16
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MEAN_SHARE = 0.6  # the z-score subtracts this share of the mean over positions


def spatial_zscore(z_BNF):
    """(z - 0.6 mean) / (std + 1e-6), per image and channel over the positions; unbiased std."""
    mean, std = z_BNF.mean(1, keepdim=True), z_BNF.std(1, keepdim=True)
    return (z_BNF - MEAN_SHARE * mean) / (std + 1e-6)


class PretrainedTeacher(nn.Module):
    """A frozen encoder. A subclass sets the constants and defines `build`.

    A subclass whose encoder is not from timm also defines `patches`."""

    SAYS = ""  # the network's name in messages
    SHAPE = {}  # arguments of `build` for the public network; tests build smaller networks
    SIZES = ()  # input sizes of the public weights, in pixels
    PATCH = 16  # side of the encoder's patch, in pixels of its input
    NORMALISE = IMAGENET  # (mean, std) of the three colours
    ZSCORE = False
    LAYOUTS = ()  # layout.Layout objects: the key names of public files

    def __init__(self, shape, resolution):
        """shape: arguments of `build`; resolution: side of the input images, in pixels.

        Mistake: the encoder does not serve the resolution."""
        super().__init__()
        self.check_resolution(shape, resolution)
        self.resolution = resolution
        self.input_size = resolution // PIXELS_PER_TOKEN * self.PATCH
        # random weights that a run draws later must not depend on its teacher
        with torch.random.fork_rng(devices=[]):
            self.encoder = self.build(**shape)
        self.width = shape["embed_dim"]
        for name, value in zip(("mean", "std"), self.NORMALISE, strict=True):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    @staticmethod
    def build(img_size, embed_dim, depth, num_heads):
        """The encoder in its published form, for images of img_size x img_size pixels."""
        raise AssertionError("a teacher defines its encoder")

    @classmethod
    def check_resolution(cls, shape, resolution):
        """Mistake: the encoder cannot give one feature per token at this resolution."""
        if resolution % PIXELS_PER_TOKEN:
            raise Mistake(
                f"data.resolution {resolution} is no multiple of {PIXELS_PER_TOKEN}; the teacher "
                f"{cls.SAYS} needs one."
            )

    def fit(self):
        """Adapt the encoder to the resolution, after its weights are loaded."""

    def preprocess(self, x_BCHW):
        """Encoder input (B, 3, input_size, input_size) of images in [-1, 1].

        Mistake: images of another shape."""
        if x_BCHW.shape[1:] != (3, self.resolution, self.resolution):
            raise Mistake(
                f"the teacher {self.SAYS} was set up for RGB images of {self.resolution} pixels, "
                f"got {tuple(x_BCHW.shape[1:])}; set data.resolution to the images' own."
            )
        x = (x_BCHW.float() / 2 + 0.5 - self.mean) / self.std
        if self.input_size == self.resolution:
            return x
        return F.interpolate(x, (self.input_size, self.input_size), mode="bicubic")

    def patches(self, x):
        """Features (B, N, F) of preprocessed images, after the encoder's last norm."""
        return self.encoder.forward_features(x)[:, self.encoder.num_prefix_tokens :]

    @torch.no_grad()
    def forward(self, x_BCHW):
        """Features (B, N, F) of images in [-1, 1].

        Under autocast features are float32 if the last operation is a norm."""
        z = self.patches(self.preprocess(x_BCHW))
        return spatial_zscore(z) if self.ZSCORE else z

    @classmethod
    def load(cls, folder, shape, data):
        """The teacher of an imported folder, for images of config.Data. Mistake: not RGB."""
        if data.channels != 3:
            raise Mistake(
                f"the teacher {cls.SAYS} reads RGB images, data.channels is {data.channels}; "
                "choose a study with a stand-in teacher."
            )
        teacher = cls(shape, data.resolution)
        checkpoint.load_weights(f"{folder}/weights.safetensors", "teacher", teacher.encoder)
        teacher.fit()
        return teacher
