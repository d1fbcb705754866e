"""`gear reconstruct`: images through a tokenizer and back, a PNG for each.

An image is brought to the tokenizer's resolution as in validation: short side by bicubic resize,
then the centre; one that has that size is taken as it is. Scores are means over the images of those
of gear.Model.reconstruct: of reconstructions that are not rounded to 8 bits. Only the PNG is.
"""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from gear.data import finding
from gear.data.png import save_png
from gear.data.transforms import validation_pixels
from gear.evaluation.notes import MARK, RECONSTRUCTION
from gear.files.aside import line
from gear.files.mistakes import Mistake
from gear.files.outputs import require_free
from gear.model import PIXELS, load
from gear.sampling.generate import save_arrays
from gear.tokenizer.load import require

LARGEST = 16384  # pixels a side, as of data.resolution
SCORES = ("l1", "psnr", "ssim")


def png_names(names):
    """{name: its PNG}. Mistake where two images would become one."""
    source_of = {}
    for name in names:
        target = Path(name).with_suffix(".png").as_posix()
        if target in source_of:
            raise Mistake(f"{source_of[target]} and {name} would both become {target}; rename one.")
        source_of[target] = name
    return {name: target for target, name in source_of.items()}


def check_apart(images, output):
    """Mistake unless the two folders lie outside each other."""
    a, b = Path(images).resolve(), Path(output).resolve()
    if a == b or a in b.parents or b in a.parents:
        raise Mistake(
            f"--output {output} and --images {images} lie in each other, so that reconstructions "
            "would mix with images; name another --output."
        )


def require_new(output, targets, tokens, force):
    """Mistake: a PNG's name is taken in the folder `output`, by a user's file or by `tokens`."""
    for target in targets:
        path = Path(output) / target
        if tokens is not None and os.path.realpath(tokens) == os.path.realpath(path):
            raise Mistake(f"--tokens {tokens} is also the name of an image; name another file.")
        if os.path.isdir(path) or (os.path.lexists(path) and not force):
            raise Mistake(
                f"{path} is there already; name another --output, remove it, or add --force."
            )


@contextmanager
def staged(output):
    """A hidden folder in `output`; when the block ends well its files move up into `output`."""
    output = Path(output)
    part = output / f".{os.getpid()}.part"
    try:
        part.mkdir(parents=True)
    except (FileExistsError, NotADirectoryError):
        raise Mistake(f"--output {output} cannot be a folder; a file has that name.") from None
    except OSError as error:
        raise Mistake(
            f"--output {output} cannot be made ({error.strerror}); name another folder."
        ) from None
    try:
        yield part
        for path in sorted(p for p in part.rglob("*") if p.is_file()):
            target = output / path.relative_to(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    finally:
        shutil.rmtree(part)


def resolution_of(wanted, settings):
    """Pixels a side: `wanted`, or what the tokenizer was trained at."""
    size = settings.data.resolution if wanted is None else wanted
    down = settings.tokenizer.downsampling
    if not 1 <= size <= LARGEST or size % down:
        raise Mistake(
            f"--resolution is {size}; it must be a multiple of {down}, the tokenizer's "
            f"downsampling, up to {LARGEST}."
        )
    return size


def read_images(folder, names, channels, size):
    """uint8 (N, C, size, size) of the named files."""
    pixels = [validation_pixels(Path(folder) / name, channels, size) for name in names]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


def main(args):
    """args: the options of `gear reconstruct` (gear/cli/commands.py)."""
    check_apart(args.images, args.output)
    names, left_out = finding.find_images(args.images)
    finding.warn(args.images, left_out)
    targets = png_names(names)
    require_free({"tokens": args.tokens}, args.force)
    require_new(args.output, targets.values(), args.tokens, args.force)
    require(args.tokenizer, "tokenizer", "name a tokenizer or joint checkpoint")
    model = load(args.tokenizer, device=args.device)
    size = resolution_of(args.resolution, model.settings)
    batch, tokens, values = max(1, PIXELS // size**2), [], []
    with staged(args.output) as folder:
        for i in range(0, len(names), batch):
            part = names[i : i + batch]
            images = read_images(args.images, part, model.settings.data.channels, size)
            result = model.reconstruct(images)
            tokens.append(result.tokens)
            values.append(result.scores)
            for name, picture in zip(part, result.images.permute(0, 2, 3, 1), strict=True):
                save_png(folder / targets[name], picture.numpy(), {MARK: RECONSTRUCTION})
        if args.tokens:
            tokens = torch.cat(tokens).numpy().astype(np.int32)
            made_by = np.array(model.tokenizer_sha256)
            arrays = {"tokens": tokens, "names": np.array(names), "tokenizer": made_by}
            save_arrays(args.tokens, arrays)
    means = {name: torch.cat([v[name] for v in values]).mean().item() for name in SCORES}
    if args.json:
        print(line({"images": len(names), **means}))
    else:
        said = "L1 {l1:.4f}, PSNR {psnr:.2f} dB, SSIM {ssim:.3f}".format(**means)
        print(f"{args.output}: {len(names)} images of {size} x {size} pixels; {said}")
