"""`gear likelihood`: gear.Model.likelihood of the tokens of a file."""

import math
import zlib
from zipfile import BadZipFile

import numpy as np

from gear.files.aside import line
from gear.files.mistakes import Mistake
from gear.model import load


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


def main(args):
    """args: the options of `gear likelihood` (gear/cli/main.py)."""
    model = load(args.checkpoint, device=args.device)
    arrays = read_arrays(args.tokens)
    if "tokens" not in arrays:
        raise Mistake(f"{args.tokens} has no array 'tokens'; draw the tokens again.")
    labels = arrays.get("labels") if args.classes is None else args.classes
    if labels is None:
        raise Mistake(f"{args.tokens} has no array 'labels'; give one class for all with --class.")
    tokens = arrays["tokens"]
    ntp = model.likelihood(tokens, labels, where=args.tokens)
    images, length = tokens.shape
    result = {"images": images, "tokens": tokens.size, "ntp": ntp}
    result["perplexity"] = math.exp(ntp) if ntp < 700 else math.inf  # exp(710) overflows
    if args.json:
        print(line(result))
        return
    print(
        f"{ntp:.4f} nats per token (perplexity {result['perplexity']:.2f}; {images} images of "
        f"{length} tokens)"
    )
