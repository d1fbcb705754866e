"""The Inception network of 2015, which defines FID and related metrics, in torch.

- TensorFlow's graph `inception-2015-12-05`, as ported by pytorch-fid and torch-fidelity:
  torchvision's Inception v3 with the blocks of clean-fid's copy. Their average pooling excludes the
  padding, and the last block uses max pooling; 1008 classes
- pooled: pool_3, 2048 numbers
- spatial: the first 7 channels of mixed_6/conv, 17 x 17 x 7, in TensorFlow's order (rows, columns,
  channels), because published moments have this order (sFID, Nash et al. 2021, arXiv 2103.03841)
- probabilities: softmax of pool_3's product with the classifier's weights, without the bias, as in
  the ADM evaluator (guided-diffusion, evaluations/evaluator.py)

Three functions preprocess images and give different features: `adm` (TensorFlow 1's bilinear resize
in the graph), `clean` (clean-fid: PIL's bicubic filter on floats), `pytorch_fid` (torch's bilinear
resize without antialias, of floats in [0, 1]). Legend: B images of H x W pixels.
"""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gear.features.weights import load_strictly, verified
from gear.files.mistakes import Mistake
from gear.foreign import source
from gear.metrics.protocol import Features
from gear.runtime import checkpoint

SIZE, CHANNELS = 299, 7
PUBLISHED = "6726825d"  # beginning of the weights' sha256, part of the published file names
WHAT = (
    f"the Inception weights (pytorch-fid's pt_inception-2015-12-05-{PUBLISHED}.pth or "
    f"torch-fidelity's weights-inception-2015-12-05-{PUBLISHED}.pth)"
)
LAYERS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"),
    *("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d"),
    *("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)
SPATIAL = "Mixed_6d"  # TensorFlow's mixed_6; its 1x1 branch, `conv`, has the first channels


def build():
    """The network with random weights and the keys of the public file."""
    import torchvision
    from cleanfid import inception_pytorch as patched

    options = {"weights": None, "num_classes": 1008, "aux_logits": False, "init_weights": False}
    with torch.random.fork_rng(devices=[]):
        network = torchvision.models.inception_v3(**options)
        network.Mixed_5b = patched.FIDInceptionA(192, pool_features=32)
        network.Mixed_5c = patched.FIDInceptionA(256, pool_features=64)
        network.Mixed_5d = patched.FIDInceptionA(288, pool_features=64)
        network.Mixed_6b = patched.FIDInceptionC(768, channels_7x7=128)
        network.Mixed_6c = patched.FIDInceptionC(768, channels_7x7=160)
        network.Mixed_6d = patched.FIDInceptionC(768, channels_7x7=160)
        network.Mixed_6e = patched.FIDInceptionC(768, channels_7x7=192)
        network.Mixed_7b = patched.FIDInceptionE_1(1280)
        network.Mixed_7c = patched.FIDInceptionE_2(2048)
    return network


class Inception(nn.Module):
    """Images (B, 3, 299, 299) in [-1, 1] -> pooled, spatial and logits."""

    def __init__(self):
        super().__init__()
        self.network = build()

    def forward(self, x_B3HW):
        """(pooled (B, 2048), spatial (B, 2023), logits without bias (B, 1008))."""
        x = x_B3HW
        for name in LAYERS:
            x = getattr(self.network, name)(x)
            if name == SPATIAL:
                spatial = x[:, :CHANNELS].permute(0, 2, 3, 1).flatten(1)
        pooled = self.network.avgpool(x).flatten(1)
        return pooled, spatial, pooled @ self.network.fc.weight.T


class Script(nn.Module):
    """The TorchScript program of clean-fid, `inception-2015-12-05.pt`: only pooled features."""

    def __init__(self, path):
        super().__init__()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a warning about the file's format
                self.layers = torch.jit.load(str(path), map_location="cpu").layers
        except (RuntimeError, AttributeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise Mistake(
                f"{path} is no Inception program as clean-fid's ({reason}); download "
                "inception-2015-12-05.pt again, or name the weights of pytorch-fid."
            ) from None

    def forward(self, x_B3HW):
        return self.layers(x_B3HW).reshape(len(x_B3HW), -1), None, None


def load(path, sha256=None, script=False):
    """(frozen network, sha256) of a local weight file. Mistake: a wrong file.

    script: also accept clean-fid's TorchScript program. It is run, so its sha256 must be given."""
    if script and source.is_torchscript(path):
        if not sha256:
            raise Mistake(
                f"{path} is a TorchScript program, which would be run, and its publisher states no "
                "hash; give the sha256 of the copy that you trust with --sha256, or name the "
                "weights of pytorch-fid."
            )
        digest = verified(path, "clean-fid's inception-2015-12-05.pt", sha256)
        return Script(path).eval().requires_grad_(False), digest
    digest = verified(path, WHAT, sha256, PUBLISHED)
    if source.is_torchscript(path):
        raise Mistake(
            f"{path} is a TorchScript program, which only the protocol clean runs; put {WHAT} "
            "there, or name another file."
        )
    network = Inception()
    load_strictly(path, network.network, WHAT)
    return network.eval().requires_grad_(False), digest


def load_folder(folder):
    """The frozen network of a folder that gear/evaluation/importing.py wrote."""
    network = Inception()
    checkpoint.load_weights(f"{folder}/weights.safetensors", "inception", network.network)
    return network.eval().requires_grad_(False)


def tf1_bilinear(x_BCHW, size=SIZE):
    """Images (B, C, size, size), resized as by TensorFlow 1's resize_bilinear.

    Output pixel i is at the position i * H / size, without half-pixel offsets."""

    def lerp(x, axis):
        length = x.shape[axis]
        scale = torch.tensor(length / size, dtype=torch.float32, device=x.device)
        place = torch.arange(size, dtype=torch.float32, device=x.device) * scale
        low = place.long()
        a = x.index_select(axis, low)
        b = x.index_select(axis, (low + 1).clamp_max(length - 1))
        weight = (place - low).to(x.dtype)
        return a + (b - a) * (weight if axis == 3 else weight[:, None])

    return lerp(lerp(x_BCHW, 3), 2)


def centred(x_B3HW):
    """Values 0..255 -> [-1, 1), as in the graph."""
    return (x_B3HW - 128) / 128


def _device(network):
    return next(network.parameters()).device


@torch.no_grad()
def adm(network, images_uint8):
    """All Features of uint8 RGB images (B, 3, H, W), as in the ADM evaluator."""
    x = tf1_bilinear(images_uint8.to(_device(network)).float())
    pooled, spatial, logits = network(centred(x))
    return Features(*(v.cpu().numpy() for v in (pooled, spatial, logits.softmax(-1))))


@torch.no_grad()
def clean(network, images_uint8):
    """Pooled Features of uint8 RGB images (B, 3, H, W), as in clean-fid (mode clean)."""
    from cleanfid.resize import build_resizer

    resize = build_resizer("clean")
    resized = [resize(image) for image in images_uint8.permute(0, 2, 3, 1).cpu().numpy()]
    x = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()
    return Features(network(centred(x.to(_device(network))))[0].cpu().numpy())


@torch.no_grad()
def pytorch_fid(network, images):
    """Pooled Features of RGB images (B, 3, H, W), as in pytorch-fid.

    images: float in [0, 1] or uint8."""
    x = images.to(_device(network)).float()
    x = x / 255 if images.dtype == torch.uint8 else x
    x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", align_corners=False)
    return Features(network(2 * x - 1)[0].cpu().numpy())
