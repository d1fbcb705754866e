"""`gear sample`: images of classes or of prompts, drawn and decoded.

As one PNG they are a grid: a row per class or prompt in the order asked for, its images from left
to right, without lines between them. Pixels of images below 64 x 64 are repeated until an image has
at least 64 a side. In a folder each picture of a prompt is a file (gear/cli/pictures.py). Images
are those of gear.Model.sample.
"""

import time
from pathlib import Path

import numpy as np

from gear.cli import pictures
from gear.data.png import enlarged, save_png
from gear.files.mistakes import Mistake, counted
from gear.files.outputs import all_or_none, require_free
from gear.model import joined, load
from gear.runtime.progress import say
from gear.sampling.generate import save_arrays
from gear.t2i.prompts import of_texts, read_prompts, too_long

OPTIONS = ("guidance", "temperature", "top_k", "top_p", "seed", "batch", "precision")


def grid(images_NCHW, columns):
    """uint8 (rows H, columns W, C) of uint8 images, row by row."""
    N, C, H, W = images_NCHW.shape
    tiles = images_NCHW.reshape(N // columns, columns, C, H, W).permute(0, 3, 1, 4, 2)
    return tiles.reshape(N // columns * H, columns * W, C).numpy()


def main(args):
    """args: the options of `gear sample` (gear/cli/commands.py)."""
    given = [name for name in ("classes", "prompt", "prompts") if getattr(args, name) is not None]
    if len(given) != 1:
        raise Mistake("name the images to draw with one of `classes`, `prompt` and `prompts`.")
    check_aspect(args.aspect)
    if given == ["classes"]:
        of_classes(args)
    else:
        of_prompts(args)


def check_aspect(aspect):
    """Mistake: the pictures are not to be squares."""
    if aspect is not None and aspect.strip() not in ("1:1", "1"):
        raise Mistake(f"`aspect` is '{aspect}', but only squares are drawn; leave it out.")


def require_png(output):
    if Path(output).suffix.lower() != ".png":
        raise Mistake(
            f"--output is '{output}'; the grid is a PNG: give a name that ends in .png, such "
            "as grid.png."
        )


def of_classes(args):
    for name in ("text_encoder", "negative_prompt", "folders"):
        if getattr(args, name) is not None:
            raise Mistake(f"`{name}` is for prompts; leave it out, or give `prompt`.")
    require_png(args.output)
    require_free({"output": args.output, "tokens": args.tokens}, args.force)
    model = load(args.checkpoint, args.tokenizer, args.device)
    model.require_kind(False)
    classes = [model.class_number(word.strip()) for word in args.classes.split(",")]
    options = {name: getattr(args, name) for name in OPTIONS}
    drawn = model.sample_with_tokens(classes, args.count, **options)
    picture = enlarged(grid(drawn.images, args.count), drawn.images.shape[-1])
    with all_or_none([args.tokens, args.output]):
        save_tokens(args.tokens, model, drawn, "labels")
        save_png(args.output, picture)
    names = ", ".join(map(model.class_name, classes))
    print(f"{args.output}: classes {names} from top to bottom, {args.count} images each")


def of_prompts(args):
    prompts = of_texts(args.prompt) if args.prompts is None else read_prompts(args.prompts)
    as_grid = args.folders is None and Path(args.output).suffix.lower() == ".png"
    if as_grid:
        files = [args.output]
        require_free({"output": args.output, "tokens": args.tokens}, args.force)
    else:
        files = pictures.files(args.output, prompts, args.count, args.folders)
        pictures.require_new(args.output, args.force)
        require_free({"tokens": args.tokens}, args.force)
    if too_long(prompts):
        say(f"gear: {too_long(prompts)}")
    model = load(args.checkpoint, args.tokenizer, args.device, args.text_encoder)
    model.require_kind(True)
    options = {name: getattr(args, name) for name in OPTIONS}
    negative = args.negative_prompt or ""
    texts = [prompt.caption for prompt in prompts]
    parts = model.drawn(None, args.count, prompts=texts, negative=negative, **options)
    notes = pictures.notes(model, options | {"negative_prompt": negative})
    began = time.monotonic()
    with all_or_none([args.tokens, *files]):
        if as_grid:
            drawn = joined(parts)
            picture = enlarged(grid(drawn.images, args.count), drawn.images.shape[-1])
            save_png(args.output, picture, notes | {"prompt": "\n".join(texts)})
        else:
            drawn = pictures.write(args.output, parts, prompts, args.count, args.folders, notes)
        save_tokens(args.tokens, model, drawn, "prompts")
    pace = len(drawn.seeds) / (time.monotonic() - began)
    what = "from top to bottom, " if as_grid else ""
    print(
        f"{args.output}: {counted(len(prompts), 'prompt')}, {what}{args.count} pictures each, "
        f"{pace:.3g} pictures/s"
    )


def save_tokens(path, model, drawn, kind):
    """Write tokens, seeds, and labels as `kind` (labels | prompts) to an .npz. None: nothing."""
    if path is not None:
        arrays = {"tokens": drawn.tokens.numpy().astype(np.int32), "seeds": drawn.seeds.numpy()}
        arrays[kind] = drawn.labels.numpy().astype(np.int32)
        save_arrays(path, arrays | {"tokenizer": np.array(model.tokenizer_sha256)})
