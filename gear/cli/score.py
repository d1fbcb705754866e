"""`gear score`: the mean next-token loss of given tokens (paper eq. 4), in nats per token.

In eval mode with the averaged weights: nothing is dropped, no label either. Float32, and a float64
mean over all tokens, so that it does not depend on the batch.

Shapes: N images, T tokens of each, K codes.
"""

import json
import math
import zlib
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F

from gear.ar.load import load_ar
from gear.files.mistakes import Mistake
from gear.runtime.device import use
from gear.tokenizer.load import require

BATCH = 16  # images of a forward pass: 16 x 256 x 16384 logits are 0.25 GiB


def read_arrays(path):
    """{'tokens': ..., 'labels': ...} of an .npz, as far as they are there."""
    try:
        with np.load(path) as file:
            return {name: file[name] for name in ("tokens", "labels") if name in file}
    except FileNotFoundError:
        raise Mistake(
            f"{path} does not exist; name an .npz that a draw, `gear sample --tokens` or "
            "`gear reconstruct --tokens` wrote."
        ) from None
    except (OSError, TypeError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise Mistake(
            f"{path} is no complete .npz file ({error}); draw the tokens again."
        ) from None


def _checked(array, below, what, path):
    """int64 array of numbers in 0..below-1, or Mistake."""
    if array.dtype.kind not in "iu":
        raise Mistake(f"{path}: {what} are {array.dtype}; they must be whole numbers.")
    if array.size and not 0 <= array.min() <= array.max() < below:
        wrong = array.min() if array.min() < 0 else array.max()
        raise Mistake(
            f"{path}: {what} hold {wrong}, but the checkpoint knows 0 to {below - 1}; they were "
            "made for another checkpoint."
        )
    return torch.from_numpy(array.astype(np.int64))


def load_tokens(path, codes, length, classes, label=None):
    """(tokens (N, T), labels (N,)) int64; `label` stands for all of them where it is given."""
    arrays = read_arrays(path)
    if "tokens" not in arrays:
        raise Mistake(f"{path} has no array 'tokens'; draw the tokens again.")
    tokens = arrays["tokens"]
    if tokens.ndim != 2 or tokens.shape[1] != length or not len(tokens):
        raise Mistake(
            f"{path}: tokens have shape {tokens.shape}, but the checkpoint's AR reads "
            f"(images, {length}); take tokens of its own tokenizer and resolution."
        )
    if label is not None:
        if not 0 <= label < classes:
            raise Mistake(f"class {label} is unknown; the checkpoint has 0 to {classes - 1}.")
        labels = np.full(len(tokens), label)
    elif "labels" not in arrays:
        raise Mistake(f"{path} has no array 'labels'; give one class for all with --class.")
    else:
        labels = arrays["labels"]
        if labels.shape != tokens.shape[:1]:
            raise Mistake(
                f"{path}: labels have shape {labels.shape} for {len(tokens)} images; give one "
                "class for all with --class."
            )
    return _checked(tokens, codes, "tokens", path), _checked(labels, classes, "labels", path)


@torch.no_grad()
def mean_loss(ar, tokens_NT, labels_N, batch=BATCH):
    """Mean of -log p(token | tokens before it, label) in nats."""
    device, total = ar.head.weight.device, 0.0
    for tokens, labels in zip(tokens_NT.split(batch), labels_N.split(batch), strict=True):
        tokens = tokens.to(device)
        logits, _ = ar(ar.embedding(tokens[:, :-1]), ar.condition(labels.to(device)))
        each = F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten(), reduction="none")
        total += each.double().sum().item()
    return total / tokens_NT.numel()


def main(args):
    """args: the options of `gear score` (gear/cli/main.py)."""
    device = use(args.device)
    require(args.checkpoint, "ar", "name a joint or ar checkpoint")
    ar, settings = load_ar(args.checkpoint)
    codes, classes = settings.tokenizer.codebook_size, settings.data.classes
    tokens, labels = load_tokens(args.tokens, codes, ar.length, classes, args.label)
    ntp = mean_loss(ar.to(device), tokens, labels)
    found = {"images": len(tokens), "tokens": tokens.numel(), "ntp": ntp}
    found["perplexity"] = math.exp(ntp) if ntp < 700 else math.inf  # exp(710) overflows
    if args.json:
        print(json.dumps(found))
    else:
        print(
            f"{found['ntp']:.4f} nats per token (perplexity {found['perplexity']:.2f}; "
            f"{found['images']} images of {ar.length} tokens)"
        )
