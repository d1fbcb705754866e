"""`gear likelihood`: gear.Model.likelihood of the tokens of a file."""

import math
from pathlib import Path

from gear.ar.pair import check_tokens
from gear.files import arrays
from gear.files.aside import line
from gear.files.mistakes import Mistake
from gear.model import load
from gear.t2i.prompts import read_prompts


def read_arrays(path):
    """{'tokens', 'labels', 'prompts', 'tokenizer': array} of an .npz, as far as they are there."""
    if not Path(path).exists():
        raise Mistake(
            f"{path} does not exist; name an .npz that a draw, `gear sample --tokens` or "
            "`gear reconstruct --tokens` wrote."
        )
    names = ("tokens", "labels", "prompts", "tokenizer")
    return arrays.read_arrays(path, names, "draw the tokens again", optional=True)


def labels_of(args, found):
    """The class of each image, or one for all."""
    if args.captions is not None:
        raise Mistake(f"the AR of {args.checkpoint} reads classes; leave `captions` out.")
    labels = found.get("labels") if args.classes is None else args.classes
    if labels is None:
        raise Mistake(f"{args.tokens} has no array 'labels'; give one class for all with --class.")
    return labels


def captions_of(args, found):
    """The caption of each image: by the array 'prompts' of the file of tokens, or in its order."""
    if args.captions is None:
        raise Mistake(
            f"the AR of {args.checkpoint} reads texts; name the file of the images' `captions`."
        )
    captions = [prompt.caption for prompt in read_prompts(args.captions)]
    numbers = found.get("prompts")
    if numbers is None:
        return captions
    if numbers.shape != found["tokens"].shape[:1] or numbers.dtype.kind not in "iu":
        raise Mistake(f"{args.tokens}: 'prompts' is no number for each image; draw them again.")
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(captions):
        raise Mistake(
            f"{args.tokens} is of {numbers.max() + 1} prompts, but {args.captions} holds "
            f"{len(captions)}; name the file that they were drawn from."
        )
    return [captions[number] for number in numbers]


def main(args):
    """args: the options of `gear likelihood` (gear/cli/commands.py)."""
    model = load(args.checkpoint, device=args.device, text_encoder=args.text_encoder)
    found = read_arrays(args.tokens)
    if "tokens" not in found:
        raise Mistake(f"{args.tokens} has no array 'tokens'; draw the tokens again.")
    if "tokenizer" in found:
        check_tokens(args.checkpoint, str(found["tokenizer"]), args.tokens)
    tokens = found["tokens"]
    if model.settings.reads_text:
        if args.classes is not None:
            model.require_kind(False)
        condition = {"captions": captions_of(args, found)}
    else:
        condition = {"classes": labels_of(args, found)}
    ntp = model.likelihood(tokens, where=args.tokens, **condition)
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
