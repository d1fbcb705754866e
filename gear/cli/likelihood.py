"""`gear likelihood`: gear.Model.likelihood of the tokens of a file."""

import math
from pathlib import Path

from gear.ar.pair import check_tokens
from gear.files import arrays
from gear.files.aside import line
from gear.files.mistakes import Mistake
from gear.model import load


def read_arrays(path):
    """{'tokens', 'labels', 'tokenizer': array} of an .npz, as far as they are there."""
    if not Path(path).exists():
        raise Mistake(
            f"{path} does not exist; name an .npz that a draw, `gear sample --tokens` or "
            "`gear reconstruct --tokens` wrote."
        )
    names = ("tokens", "labels", "tokenizer")
    return arrays.read_arrays(path, names, "draw the tokens again", optional=True)


def main(args):
    """args: the options of `gear likelihood` (gear/cli/commands.py)."""
    model = load(args.checkpoint, device=args.device)
    found = read_arrays(args.tokens)
    if "tokens" not in found:
        raise Mistake(f"{args.tokens} has no array 'tokens'; draw the tokens again.")
    if "tokenizer" in found:
        check_tokens(args.checkpoint, str(found["tokenizer"]), args.tokens)
    labels = found.get("labels") if args.classes is None else args.classes
    if labels is None:
        raise Mistake(f"{args.tokens} has no array 'labels'; give one class for all with --class.")
    tokens = found["tokens"]
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
