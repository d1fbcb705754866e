"""A trained model in Python: images to tokens and back, new images, the likelihood of tokens.

    model = gear.load("reproduced/demo/joint/gear-l/400k")
    images = model.sample(classes=[3, 7], count=8, guidance=1.5)

The commands `gear reconstruct`, `sample` and `likelihood` use it. The networks have the averaged
weights, in eval mode and float32. They are read from their folder when they are first needed.
Whatever does not fit a method's description is refused with a Mistake of one sentence.

Shapes: N images, C channels, H x W pixels, T tokens of an image in raster order. Images are uint8,
0 to 255; tokens and classes are whole numbers from 0. Methods take tensors and arrays of numpy, and
return tensors on the CPU.
"""

import math
import operator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from gear.ar.load import load_ar
from gear.ar.pair import check_pair, find_tokenizer, holds, length_of
from gear.data.memory import to_float, to_uint8
from gear.evaluation.validate import PER_IMAGE, in_unit, reconstruct
from gear.files.hashes import sha256_once
from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_record
from gear.runtime.checkpoint import require_finite
from gear.runtime.device import use
from gear.sampling.conditions import Labels
from gear.sampling.decode import decode
from gear.sampling.generate import Sampler, draw_all
from gear.tokenizer.load import load_frozen, require, settings_of

DRAWN = 64  # images drawn at once
SCORED = 16  # images of an AR's forward pass: 16 x 256 x 16384 logits are 0.25 GiB
DECODED = 16  # images decoded at once
PIXELS = 4 * 256**2  # of the images that go through the encoder at once
PER_CLASS = 1_000_000  # seeds set aside for each class, of the 10^9 of each `seed`
SEEDS = 9_000_000_000  # so that a seed fits 64 bits


class Samples(NamedTuple):
    """Images that were drawn, class by class in the order asked for."""

    images: torch.Tensor  # (N, C, H, W) uint8
    tokens: torch.Tensor  # (N, T) int64
    labels: torch.Tensor  # (N,) int64: the class of each
    seeds: torch.Tensor  # (N,) int64: the address of its random numbers


class Reconstructions(NamedTuple):
    """Images through the tokenizer and back."""

    images: torch.Tensor  # (N, C, H, W) uint8
    tokens: torch.Tensor  # (N, T) int64
    scores: dict  # {'psnr' in dB, 'ssim', 'l1' in [0, 1]: (N,) float64}, before rounding to uint8


def load(folder, tokenizer=None, device=None):
    """The Model of a checkpoint folder: a tokenizer, an AR or both; trained here or imported.

    tokenizer: folder of the tokenizer that an AR reads. Default: the folder's own, else the one
    that its run.json names, else that of the same imported file. device: cuda | cpu; default: cuda
    where there is one."""
    return Model(folder, tokenizer, device)


class Model:
    """`settings` (gear.config.Settings) and the networks `tokenizer` and `ar` of a checkpoint.

    A method ends in a Mistake where the checkpoint lacks the network that it needs."""

    def __init__(self, folder, tokenizer=None, device=None):
        """See `load`."""
        for name, path in (("folder", folder), ("tokenizer", tokenizer)):
            if path is not None and not str(path).strip():
                raise Mistake(f"`{name}` is empty; name the folder of a checkpoint.")
        self.device, self.folder = use(device), Path(folder)
        if tokenizer is not None or not holds(self.folder, "tokenizer"):
            self._require_ar()
        self.settings = settings_of(self.folder)
        self._tokenizer_folder = None if tokenizer is None else self._checked(tokenizer)

    # ---- networks --------------------------------------------------------------------------

    @cached_property
    def ar(self):
        """The network gear.ar.transformer.Transformer."""
        self._require_ar()
        return self._ready(load_ar(self.folder)[0], self.folder)

    @cached_property
    def tokenizer(self):
        """The network gear.tokenizer.autoencoder.Tokenizer."""
        folder = self._find_tokenizer()
        return self._ready(load_frozen(folder), folder)

    @property
    def tokenizer_sha256(self):
        """The sha256 of the file of weights that holds the tokenizer, by which tokens are known."""
        return sha256_once(Path(self._find_tokenizer()) / "weights.safetensors")

    def _ready(self, network, folder):
        """The network on the device. Mistake: it is of a run that diverged to NaN."""
        require_finite(network.state_dict(), folder)
        return network.to(self.device)

    def _require_ar(self):
        require(self.folder, "ar", "name a joint or ar checkpoint")

    def _find_tokenizer(self):
        """The tokenizer's folder, which is looked for once."""
        if self._tokenizer_folder is None:
            self._tokenizer_folder = self._checked(find_tokenizer(self.folder) or self.folder)
        return self._tokenizer_folder

    def _checked(self, folder):
        require(
            folder, "tokenizer", "name the tokenizer that its AR was trained on with `tokenizer`"
        )
        if Path(folder) != self.folder:
            check_pair(self.folder, self.settings, folder)
        return folder

    @cached_property
    def class_names(self):
        """The names of the class folders, in the order of the class numbers; [] if not known."""
        names = read_record(self.folder / "run.json").get("classes")
        return [str(name) for name in names] if isinstance(names, list) else []

    def class_name(self, number):
        """'3 (n01440764)': a class number and, where run.json says it, the name of its folder."""
        known = number < len(self.class_names) and self.class_names[number] != str(number)
        return f"{number} ({self.class_names[number]})" if known else str(number)

    def class_number(self, word):
        """3 of '3', or of 'n01440764' where run.json says that it is the folder of class 3."""
        if word.isdecimal():
            return int(word)
        if word in self.class_names:
            return self.class_names.index(word)
        hint = f" {did_you_mean(word, self.class_names)}" if self.class_names else ""
        raise Mistake(f"`classes` has '{word}'; write class numbers, such as 3,207.{hint}")

    # ---- images and tokens -----------------------------------------------------------------

    def encode(self, images):
        """Tokens (N, T) int64 of images (N, C, H, W) uint8.

        Images are squares, of a multiple of the tokenizer's downsampling."""
        parts = self._pieces(images)
        return torch.cat([self.tokenizer.tokens(to_float(part)).cpu() for part in parts])

    def decode(self, tokens):
        """Images (N, C, H, W) uint8 of tokens (N, T), T = h x h."""
        codes = self.tokenizer.config.codebook_size
        array = _array(tokens, "tokens")
        if array.ndim != 2 or not array.size or math.isqrt(array.shape[1]) ** 2 != array.shape[1]:
            raise Mistake(f"tokens have shape {array.shape}; give (N, T) with T = h x h tokens.")
        return decode(self.tokenizer, _numbers(array, codes, "tokens"), DECODED)

    def reconstruct(self, images):
        """The Reconstructions of images (N, C, H, W) uint8, with their scores.

        Scores are of the published protocol: reconstructions as floats in [0, 1], clamped but not
        rounded, against the images / 255."""
        parts = []
        for originals in self._pieces(images):
            decoded, tokens, _ = reconstruct(self.tokenizer, originals)
            pair = in_unit(decoded), originals.float() / 255
            scores = [measure(*pair).cpu() for measure in PER_IMAGE.values()]
            parts.append((to_uint8(decoded).cpu(), tokens.cpu(), *scores))
        pictures, tokens, *scores = map(torch.cat, zip(*parts, strict=True))
        return Reconstructions(pictures, tokens, dict(zip(PER_IMAGE, scores, strict=True)))

    def _pieces(self, images):
        """Checked images on the device, as many at once as PIXELS allows."""
        array, settings = _array(images, "images"), settings_of(self._find_tokenizer())
        channels, down = settings.data.channels, settings.tokenizer.downsampling
        if array.dtype != np.uint8 or array.ndim != 4 or not array.size:
            raise Mistake(
                f"images are {array.dtype} of shape {array.shape}; give uint8 (N, C, H, W)."
            )
        if array.shape[1] != channels:
            raise Mistake(
                f"images have {array.shape[1]} channels, the tokenizer reads {channels}; give (N, "
                f"{channels}, H, W)."
            )
        height, width = array.shape[2:]
        if height != width or height % down:
            raise Mistake(
                f"images have {width} x {height} pixels; give squares of a multiple of {down}, the "
                "tokenizer's downsampling."
            )
        for part in torch.from_numpy(array).split(max(1, PIXELS // height**2)):
            yield part.to(self.device)

    # ---- sampling --------------------------------------------------------------------------

    def sample(self, classes, count=1, guidance=1.0, temperature=1.0, top_k=0, top_p=1.0, seed=0):
        """New images (N, C, H, W) uint8: `count` of each class, class by class in the order given.

        guidance: 1 is none; logits are uncond + guidance (cond - uncond). top_k 0 and top_p 1: off.
        Image j of a class is a function of (seed, class, j) and these options: it is the same
        whatever other classes and however many images are drawn with it."""
        options = (count, guidance, temperature, top_k, top_p, seed)
        return self.sample_with_tokens(classes, *options).images

    def sample_with_tokens(
        self, classes, count=1, guidance=1.0, temperature=1.0, top_k=0, top_p=1.0, seed=0
    ):
        """As `sample`, but Samples: the images with their tokens, labels and seeds."""
        self._require_ar()
        _check_sampling(count, guidance, temperature, top_k, top_p, seed)
        classes = _classes(classes, self.settings.data.classes)
        tokenizer = self.tokenizer  # first, in case that there is none
        labels, seeds = requests(classes, count, seed)
        sampler = Sampler(len(labels), guidance, temperature, top_k, top_p, seed=seed)
        tokens = draw_all(self.ar, Labels(self.ar, labels), seeds, sampler, DRAWN)
        images = decode(tokenizer, tokens, DECODED)
        return Samples(images, *map(torch.from_numpy, (tokens.astype(np.int64), labels, seeds)))

    # ---- likelihood ------------------------------------------------------------------------

    def likelihood(self, tokens, classes, where=None):
        """Mean next-token loss of tokens (N, T) in nats per token (paper eq. 4), a float.

        classes: the class of each image (N,), or one for all. where: the file that they are from,
        with which an error's sentence begins."""
        self._require_ar()
        settings = self.settings
        array, length = _array(tokens, "tokens", where), length_of(settings)
        if array.ndim != 2 or array.shape[1] != length or not len(array):
            raise Mistake(
                f"{_at(where)}tokens have shape {array.shape}, but the checkpoint's AR reads "
                f"(images, {length}); take tokens of its own tokenizer and resolution."
            )
        labels = _array(classes, "labels", where)
        if labels.ndim == 0:
            labels = np.full(len(array), _classes(classes, settings.data.classes)[0])
        if labels.shape != array.shape[:1]:
            raise Mistake(
                f"{_at(where)}labels have shape {labels.shape} for {len(array)} images; give one "
                "class for all with `classes`."
            )
        tokens = _numbers(array, settings.tokenizer.codebook_size, "tokens", where)
        labels = _numbers(labels, settings.data.classes, "labels", where)
        return mean_loss(self.ar, tokens, labels)


@torch.no_grad()
def mean_loss(ar, tokens_NT, labels_N, batch=SCORED):
    """Mean of -log p(token | tokens before it, label) in nats.

    Nothing is dropped, no label either. The mean is in float64, so that it does not depend on the
    batch."""
    device, total = ar.head.weight.device, 0.0
    for tokens, labels in zip(tokens_NT.split(batch), labels_N.split(batch), strict=True):
        tokens = tokens.to(device)
        logits, _ = ar(ar.embedding(tokens[:, :-1]), ar.condition(labels.to(device)))
        each = F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten(), reduction="none")
        total += each.double().sum().item()
    return total / tokens_NT.numel()


def requests(classes, count, seed):
    """(labels (N,) int64, seeds (N,) int64), class by class."""
    labels = np.repeat(np.array(classes, np.int64), count)
    number = np.tile(np.arange(count, dtype=np.int64), len(classes))
    return labels, seed * 1_000_000_000 + labels * PER_CLASS + number


# ---- checks: a parameter's name in backquotes becomes its option where a command is used ---------


def _at(where):
    return f"{where}: " if where else ""


def _array(values, what, where=None):
    """An array in C order that a tensor may share, of a tensor or of whatever numpy takes."""
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu().numpy()
        return np.require(values, requirements="CW")
    except (TypeError, ValueError) as error:
        raise Mistake(f"{_at(where)}{what} are no array of numbers ({error}); give one.") from None


def _numbers(array, below, what, where=None):
    """int64 tensor of whole numbers in 0..below-1."""
    if array.dtype.kind not in "iu":
        raise Mistake(f"{_at(where)}{what} are {array.dtype}; they must be whole numbers.")
    if array.size and not 0 <= array.min() <= array.max() < below:
        wrong = array.min() if array.min() < 0 else array.max()
        raise Mistake(
            f"{_at(where)}{what} hold {wrong}, but the checkpoint knows 0 to {below - 1}; they "
            "were made for another checkpoint."
        )
    return torch.from_numpy(array.astype(np.int64))


def _classes(classes, known):
    """A list of class numbers, each once, of a list or of one number."""
    array = _array(classes, "classes").reshape(-1)
    if array.dtype.kind not in "iu" or not array.size:
        raise Mistake(f"`classes` is {classes!r}; write class numbers, such as [3, 207].")
    numbers = array.tolist()
    for number in numbers:
        if not 0 <= number < known:
            raise Mistake(f"class {number} is unknown; the checkpoint has 0 to {known - 1}.")
        if numbers.count(number) > 1:
            raise Mistake(f"`classes` has {number} twice; name each class once.")
    return numbers


def _whole(name, value, low, high):
    try:
        number = operator.index(value)
    except TypeError:
        raise Mistake(f"`{name}` is {value!r}; write a whole number.") from None
    if not low <= number <= high:
        raise Mistake(f"`{name}` is {number}; it must be {low} to {high}.")


def _check_sampling(count, guidance, temperature, top_k, top_p, seed):
    """Mistake where an option cannot be."""
    _whole("count", count, 1, PER_CLASS)
    _whole("seed", seed, 0, SEEDS)
    numbers = {"guidance": guidance, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    for name, value in numbers.items():
        if not isinstance(value, int | float | np.number):
            raise Mistake(f"`{name}` is {value!r}; write a number.")
    if not 0 < temperature < math.inf or not 0 < top_p <= 1 or top_k < 0:
        raise Mistake("`temperature` must be above 0, `top_p` in (0, 1] and `top_k` at least 0.")
    _whole("top_k", top_k, 0, 2**62)
    if not math.isfinite(guidance):
        raise Mistake(f"`guidance` is {guidance}; write a number, such as 1.5.")
