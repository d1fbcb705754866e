"""`gear sample`: a few images of each class, drawn and decoded, as one PNG.

A row per class in the order asked for, its images from left to right, without lines between them.
Image j of class c is drawn at seed (seed, c, j): it is the same whatever other classes and however
many images are drawn with it.

Shapes: N images, T tokens of each, C channels, H x W pixels.
"""

import math
from pathlib import Path

import numpy as np

from gear.ar.load import load_ar
from gear.data.png import save_png
from gear.files.mistakes import Mistake
from gear.runtime.device import use
from gear.sampling.decode import decode
from gear.sampling.generate import Sampler, draw_all, save_arrays
from gear.tokenizer.load import load_frozen, require, settings_of

BATCH = 64  # images drawn at once
PER_CLASS = 1_000_000  # seeds set aside for each class, of the 10^9 of each --seed
SEEDS = 9_000_000_000  # so that a seed fits 64 bits


def parse_classes(text, known):
    """[3, 207] of '3,207'. Mistake: no number, unknown, or there twice."""
    try:
        classes = [int(word) for word in text.split(",")]
    except ValueError:
        raise Mistake(f"--classes is '{text}'; write class numbers, such as 3,207.") from None
    for number in classes:
        if not 0 <= number < known:
            raise Mistake(f"class {number} is unknown; the checkpoint has 0 to {known - 1}.")
        if classes.count(number) > 1:
            raise Mistake(f"--classes has {number} twice; name each class once.")
    return classes


def requests(classes, count, seed):
    """(labels (N,) int64, seeds (N,) int64), class by class."""
    labels = np.repeat(np.array(classes, np.int64), count)
    number = np.tile(np.arange(count, dtype=np.int64), len(classes))
    return labels, seed * 1_000_000_000 + labels * PER_CLASS + number


def grid(images_NCHW, columns):
    """uint8 (rows H, columns W, C) of uint8 images, row by row."""
    N, C, H, W = images_NCHW.shape
    tiles = images_NCHW.reshape(N // columns, columns, C, H, W).permute(0, 3, 1, 4, 2)
    return tiles.reshape(N // columns * H, columns * W, C).numpy()


def load_pair(checkpoint_folder, tokenizer_folder=None):
    """(AR, tokenizer, settings of the AR). Mistake where they do not belong together."""
    require(checkpoint_folder, "ar", "name a joint or ar checkpoint")
    folder = tokenizer_folder or checkpoint_folder
    require(folder, "tokenizer", "name the tokenizer that its AR was trained on with --tokenizer")
    ar, settings = load_ar(checkpoint_folder)
    theirs = settings_of(folder).tokenizer
    found = {
        "codes": (settings.tokenizer.codebook_size, theirs.codebook_size),
        "tokens an image": (ar.length, (settings.data.resolution // theirs.downsampling) ** 2),
    }
    for what, (wanted, has) in found.items():
        if wanted != has:
            raise Mistake(
                f"the AR of {checkpoint_folder} reads {wanted} {what}, the tokenizer of {folder} "
                f"makes {has}; name the tokenizer that the AR was trained on."
            )
    return ar, load_frozen(folder), settings


def check(args):
    """Mistake where an option cannot be, before anything is loaded."""
    if Path(args.output).suffix.lower() != ".png":
        raise Mistake(f"--output is '{args.output}'; the grid is a PNG, name it *.png.")
    if not 1 <= args.count <= PER_CLASS:
        raise Mistake(f"--count is {args.count}; it must be 1 to {PER_CLASS}.")
    if not 0 <= args.seed <= SEEDS:
        raise Mistake(f"--seed is {args.seed}; it must be 0 to {SEEDS}.")
    if not 0 < args.temperature < math.inf or not 0 < args.top_p <= 1 or args.top_k < 0:
        raise Mistake("--temperature must be above 0, --top-p in (0, 1] and --top-k at least 0.")
    if not math.isfinite(args.guidance):
        raise Mistake(f"--guidance is {args.guidance}; write a number, such as 1.5.")


def main(args):
    """args: the options of `gear sample` (gear/cli/main.py)."""
    check(args)
    device = use(args.device)
    ar, tokenizer, settings = load_pair(args.checkpoint, args.tokenizer)
    classes = parse_classes(args.classes, settings.data.classes)
    labels, seeds = requests(classes, args.count, args.seed)
    sampler = Sampler(
        images=len(labels),
        guidance=args.guidance,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        seed=args.seed,
    )
    tokens = draw_all(ar.to(device), labels, seeds, sampler, BATCH)
    images = decode(tokenizer.to(device), tokens, batch=16)
    if args.tokens:
        arrays = {"tokens": tokens, "labels": labels.astype(np.int32), "seeds": seeds}
        save_arrays(args.tokens, arrays)
    save_png(args.output, grid(images, args.count))
    print(f"{args.output}: classes {args.classes} from top to bottom, {args.count} images each")
