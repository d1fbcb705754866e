"""A trained model in Python: images to tokens and back, new images, the likelihood of tokens.

    model = gear.load("reproduced/demo/joint/gear-l/400k")
    images = model.sample(classes=[3, 7], count=8, guidance=1.5)

    model = gear.load("reproduced/demo/t2i/gear-t2i/390k")  # its condition is a text
    images = model.sample(prompts=["a bold seven"], count=4, guidance=4.0)

The commands `gear reconstruct`, `sample` and `likelihood` use it. The networks have the averaged
weights, in eval mode and float32; `sample` can draw in bfloat16. They are read from their folder
when they are first needed. Whatever does not fit a method's description is refused with a Mistake
of one sentence.

Shapes: N images, C channels, H x W pixels, T tokens of an image in raster order. Images are uint8,
0 to 255; tokens and classes are whole numbers from 0. Methods take tensors and arrays of numpy, and
return tensors on the CPU.
"""

import math
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from gear.ar.pair import check_pair, find_tokenizer, holds, length_of
from gear.data.memory import to_float, to_uint8
from gear.evaluation.validate import PER_IMAGE, in_unit, reconstruct
from gear.files.hashes import sha256_once
from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_record
from gear.runtime.checkpoint import require_finite
from gear.runtime.device import use
from gear.sampling import asked, batches, texts
from gear.sampling.asked import PER_CLASS
from gear.sampling.conditions import Captions, Labels
from gear.sampling.decode import decode
from gear.sampling.generate import Sampler, draw_parts
from gear.t2i.load import load_ar
from gear.t2i.pair import find_encoder
from gear.t2i.text import Alone, load_encoder
from gear.tokenizer.load import load_frozen, require, settings_of

DRAWN = 64  # images drawn at once
SCORED = 16  # images of an AR's forward pass: 16 x 256 x 16384 logits are 0.25 GiB
DECODED = 16  # images decoded at once
PIXELS = 4 * 256**2  # of the images that go through the encoder at once


class Samples(NamedTuple):
    """Images that were drawn, class by class or prompt by prompt in the order asked for."""

    images: torch.Tensor  # (N, C, H, W) uint8
    tokens: torch.Tensor  # (N, T) int64
    labels: torch.Tensor  # (N,) int64: the class of each, or its prompt's number from 0
    seeds: torch.Tensor  # (N,) int64: the address of its random numbers


def joined(parts):
    """One Samples of several."""
    return Samples(*map(torch.cat, zip(*parts, strict=True)))


class Reconstructions(NamedTuple):
    """Images through the tokenizer and back."""

    images: torch.Tensor  # (N, C, H, W) uint8
    tokens: torch.Tensor  # (N, T) int64
    scores: dict  # {'psnr' in dB, 'ssim', 'l1' in [0, 1]: (N,) float64}, before rounding to uint8


def load(folder, tokenizer=None, device=None, text_encoder=None):
    """The Model of a checkpoint folder: a tokenizer, an AR or both; trained here or imported.

    tokenizer: folder of the tokenizer that an AR reads. Default: the folder's own, else the one
    that its run.json names, else that of the same imported file. device: cuda | cpu; default: cuda
    where there is one. text_encoder: folder of the text encoder that an AR of texts reads. Default:
    the one that its run.json names."""
    return Model(folder, tokenizer, device, text_encoder)


class Model:
    """`settings` (gear.config.Settings) and the networks `tokenizer` and `ar` of a checkpoint.

    A method ends in a Mistake where the checkpoint lacks the network that it needs."""

    def __init__(self, folder, tokenizer=None, device=None, text_encoder=None):
        """See `load`."""
        given = {"folder": folder, "tokenizer": tokenizer, "text_encoder": text_encoder}
        for name, path in given.items():
            if path is not None and not str(path).strip():
                raise Mistake(f"`{name}` is empty; name the folder of a checkpoint.")
        self.device, self.folder = use(device), Path(folder)
        if tokenizer is not None or not holds(self.folder, "tokenizer"):
            self._require_ar()
        self.settings = settings_of(self.folder)
        self._tokenizer_folder = None if tokenizer is None else self._checked(tokenizer)
        self._encoder_folder = None
        if text_encoder is not None:
            self.require_kind(True)
            self._encoder_folder = self._find_encoder(text_encoder)

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

    @cached_property
    def encoder(self):
        """The encoder of an AR that reads texts, in the precision of its training.

        It is a gear.t2i.text.Alone: the features of a caption do not depend on its batch."""
        self.require_kind(True)
        folder, settings = self._encoder_folder or self._find_encoder(), self.settings
        precision = settings.runtime.precision
        return Alone(load_encoder(folder, settings.text, precision, self.device))

    @property
    def tokenizer_sha256(self):
        """The sha256 of the file of weights that holds the tokenizer, by which tokens are known."""
        return sha256_once(Path(self._find_tokenizer()) / "weights.safetensors")

    def _ready(self, network, folder):
        """The network on the device. Mistake: it is of a run that diverged to NaN."""
        require_finite(network.state_dict(), folder)
        return network.to(self.device)

    def _require_ar(self):
        require(self.folder, "ar", "name a joint, ar or t2i checkpoint")

    def require_kind(self, texts):
        """Mistake: there is no AR, or it does not read what is given: texts, or else classes."""
        self._require_ar()
        if self.settings.reads_text != texts:
            kinds = ("classes", "texts") if texts else ("texts", "classes")
            cure = "name classes in place of texts" if texts else "name prompts in place of classes"
            raise Mistake(f"the AR of {self.folder} reads {kinds[0]} and no {kinds[1]}; {cure}.")

    def _find_encoder(self, folder=None):
        return find_encoder(self.folder, self.settings.text, folder)

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
        array = asked.array(tokens, "tokens")
        if array.ndim != 2 or not array.size or math.isqrt(array.shape[1]) ** 2 != array.shape[1]:
            raise Mistake(f"tokens have shape {array.shape}; give (N, T) with T = h x h tokens.")
        return decode(self.tokenizer, asked.numbers(array, codes, "tokens"), DECODED)

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
        array, settings = asked.array(images, "images"), settings_of(self._find_tokenizer())
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

    def sample(self, classes=None, count=1, guidance=1.0, *options, **more):
        """New images (N, C, H, W) uint8: `count` of each class or prompt, in the order given.

        See `drawn` for all options. Image j of a class is a function of (seed, class, j) and these
        options, that of a prompt of (seed, text, j): it is the same whatever else is drawn with it.
        A prompt that is named twice goes on counting j."""
        return self.sample_with_tokens(classes, count, guidance, *options, **more).images

    def sample_with_tokens(self, *options, **more):
        """As `sample`, but Samples: the images with their tokens, labels and seeds."""
        return joined(self.drawn(*options, **more))

    def drawn(
        self,
        classes=None,
        count=1,
        guidance=1.0,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        seed=0,
        prompts=None,
        negative="",
        batch=None,
        precision="fp32",
    ):
        """Yields the Samples of `sample`, `batch` images at a time.

        guidance: 1 is none; logits are uncond + guidance (cond - uncond). top_k 0 and top_p 1: off.
        prompts: texts, in place of classes. negative: the text of uncond, which acts with guidance
        alone. batch: how many images are drawn at once; it changes no image. Default: 64; for
        prompts the largest power of two that fits into memory. precision: fp32 | bf16, which is
        faster and draws other images."""
        if (classes is None) == (prompts is None):
            raise Mistake("name either `classes` or prompts.")
        if negative != "" and prompts is None:
            raise Mistake("`negative` is for prompts; leave it out.")
        self.require_kind(prompts is not None)
        asked.check_sampling(count, guidance, temperature, top_k, top_p, seed)
        if batch is not None:
            asked.whole("batch", batch, 1, 2**20)
        tokenizer = self.tokenizer  # first, in case that there is none
        if prompts is None:
            wanted = asked.classes(classes, self.settings.data.classes)
            labels, seeds = requests(wanted, count, seed)
            conditions = Labels(self.ar, labels)
        else:
            negative = asked.negative(negative, guidance)
            labels, seeds, conditions = self._of_prompts(prompts, count, seed, negative)
            batch = batch or batches.fitting(self.ar, self.settings.text.slots, guidance != 1.0)
        options = {"seed": seed, "precision": precision}
        sampler = Sampler(len(labels), guidance, temperature, top_k, top_p, **options)
        done = 0
        for tokens in draw_parts(self.ar, conditions, seeds, sampler, batch or DRAWN):
            part = slice(done, done + len(tokens))
            images, done = decode(tokenizer, tokens.cpu(), DECODED), part.stop
            yield Samples(images, tokens.cpu(), *map(torch.from_numpy, (labels[part], seeds[part])))

    def _of_prompts(self, prompts, count, seed, negative):
        """(prompt of each image (N,), seeds (N,), conditions)."""
        wanted = asked.texts(prompts)
        numbers, seeds = texts.seeds(wanted, count, seed)
        return numbers, seeds, self._captions([wanted[n] for n in numbers], negative)

    def _captions(self, captions, negative=""):
        """The conditions of texts, one for each image."""
        return Captions(self.ar, self.encoder, captions, negative)

    # ---- likelihood ------------------------------------------------------------------------

    def likelihood(self, tokens, classes=None, where=None, captions=None):
        """Mean next-token loss of tokens (N, T) in nats per token (paper eq. 4), a float.

        classes: the class of each image (N,), or one for all; captions: texts in the same way, for
        an AR of texts. where: the file that the tokens are from, with which an error's sentence
        begins."""
        if (classes is None) == (captions is None):
            raise Mistake(f"{asked.at(where)}name either `classes` or `captions` of the images.")
        self.require_kind(captions is not None)
        settings = self.settings
        array, length = asked.array(tokens, "tokens", where), length_of(settings)
        if array.ndim != 2 or array.shape[1] != length or not len(array):
            raise Mistake(
                f"{asked.at(where)}tokens have shape {array.shape}, but the checkpoint's AR reads "
                f"(images, {length}); take tokens of its own tokenizer and resolution."
            )
        tokens = asked.numbers(array, settings.tokenizer.codebook_size, "tokens", where)
        if captions is None:
            conditions = Labels(self.ar, self._labels(classes, len(array), where))
        else:
            conditions = self._captions(asked.captions(captions, len(array), where))
        return mean_loss(self.ar, tokens, conditions)

    def _labels(self, classes, count, where):
        """(N,) int64 of the class of each image, or of one for all."""
        known, labels = self.settings.data.classes, asked.array(classes, "labels", where)
        if labels.ndim == 0:
            labels = np.full(count, asked.classes(classes, known)[0])
        if labels.shape != (count,):
            raise Mistake(
                f"{asked.at(where)}labels have shape {labels.shape} for {count} images; give one "
                "class for all with `classes`."
            )
        return asked.numbers(labels, known, "labels", where).numpy()


@torch.no_grad()
def mean_loss(ar, tokens_NT, conditions, batch=SCORED):
    """Mean of -log p(token | tokens before it, condition) in nats.

    conditions: of gear/sampling/conditions.py; none is dropped, and no token. The mean is in
    float64, so that it does not depend on the batch."""
    device, total, done = ar.head.weight.device, 0.0, 0
    for tokens in tokens_NT.split(batch):
        tokens = tokens.to(device)
        prefix, done = conditions.prefix(done, done + len(tokens)), done + len(tokens)
        logits, _ = ar(ar.embedding(tokens[:, :-1]), prefix)
        each = F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten(), reduction="none")
        total += each.double().sum().item()
    return total / tokens_NT.numel()


def requests(classes, count, seed):
    """(labels (N,) int64, seeds (N,) int64), class by class."""
    labels = np.repeat(np.array(classes, np.int64), count)
    number = np.tile(np.arange(count, dtype=np.int64), len(classes))
    return labels, seed * 1_000_000_000 + labels * PER_CLASS + number
