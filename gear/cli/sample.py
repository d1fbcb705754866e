"""`gear sample`: a few images of each class, drawn and decoded, as one PNG.

A row per class in the order asked for, its images from left to right, without lines between them.
Pixels of images below 64 x 64 are repeated until an image has at least 64 a side.
Images are those of gear.Model.sample.
"""

from pathlib import Path

import numpy as np

from gear.data.png import enlarged, save_png
from gear.files.mistakes import Mistake
from gear.files.outputs import all_or_none, require_free
from gear.model import load
from gear.sampling.generate import save_arrays

OPTIONS = ("guidance", "temperature", "top_k", "top_p", "seed")


def grid(images_NCHW, columns):
    """uint8 (rows H, columns W, C) of uint8 images, row by row."""
    N, C, H, W = images_NCHW.shape
    tiles = images_NCHW.reshape(N // columns, columns, C, H, W).permute(0, 3, 1, 4, 2)
    return tiles.reshape(N // columns * H, columns * W, C).numpy()


def main(args):
    """args: the options of `gear sample` (gear/cli/commands.py)."""
    if Path(args.output).suffix.lower() != ".png":
        raise Mistake(
            f"--output is '{args.output}'; the grid is a PNG: give a name that ends in .png, such "
            "as grid.png."
        )
    require_free({"output": args.output, "tokens": args.tokens}, args.force)
    model = load(args.checkpoint, args.tokenizer, args.device)
    classes = [model.class_number(word.strip()) for word in args.classes.split(",")]
    options = {name: getattr(args, name) for name in OPTIONS}
    drawn = model.sample_with_tokens(classes, args.count, **options)
    picture = enlarged(grid(drawn.images, args.count), drawn.images.shape[-1])
    with all_or_none([args.tokens, args.output]):
        if args.tokens:
            arrays = {name: getattr(drawn, name).numpy() for name in ("tokens", "labels", "seeds")}
            arrays |= {name: arrays[name].astype(np.int32) for name in ("tokens", "labels")}
            save_arrays(args.tokens, arrays | {"tokenizer": np.array(model.tokenizer_sha256)})
        save_png(args.output, picture)
    names = ", ".join(map(model.class_name, classes))
    print(f"{args.output}: classes {names} from top to bottom, {args.count} images each")
