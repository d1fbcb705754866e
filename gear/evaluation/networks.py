"""The feature network of each protocol, loaded from a local file, as a function images -> Features.

A network is asked for uint8 RGB images (B, 3, H, W); those of another number of channels are named
here, once for all of them.
"""

from dataclasses import dataclass
from functools import partial

from gear.files.mistakes import Mistake
from gear.metrics.protocol import Features, Protocol, named

# protocol -> where it is (module, function), and the file of weights it looks for by default
WAYS = {
    "adm": ("inception", "adm"),
    "clean": ("inception", "clean"),
    "coco": ("inception", "pytorch_fid"),
    "fdd": ("dinov2", "features"),
}
FILES = {
    "inception": "weights/pt_inception-2015-12-05-6726825d.pth",
    "dinov2": "weights/dinov2_vitl14_pretrain.pth",
}
BATCH = {"cpu": 32, "cuda": 128}  # images of a forward pass


@dataclass(frozen=True)
class Extractor:
    """A protocol's way into its network."""

    protocol: Protocol
    function: object  # images -> Features
    weights: str  # sha256 of the file

    def __call__(self, images_uint8) -> Features:
        require_colour(images_uint8, f"protocol {self.protocol.name}")
        return self.function(images_uint8)


def require_colour(images, what):
    """Mistake unless images (B, C, H, W) have three channels."""
    if images.shape[1] != 3:
        raise Mistake(
            f"{what} reads RGB images, these have {images.shape[1]} channel; score them with a "
            "study whose feature network is a stand-in, such as demo."
        )


def module_of(protocol):
    """gear.features.inception or gear.features.dinov2, imported when it is needed."""
    from importlib import import_module

    return import_module(f"gear.features.{WAYS[protocol][0]}")


def default_file(protocol):
    return FILES[WAYS[protocol][0]]


def extractor(protocol, network, weights=""):
    """The Extractor of a network that is loaded."""
    function = getattr(module_of(protocol), WAYS[protocol][1])
    return Extractor(named(protocol), partial(function, network), weights)


def load(protocol, path=None, sha256=None, device="cpu"):
    """The Extractor of a local file of weights, its hash checked."""
    module = module_of(protocol)
    options = {"script": True} if protocol == "clean" else {}
    network, found = module.load(path or default_file(protocol), sha256, **options)
    return extractor(protocol, network.to(device), found)
