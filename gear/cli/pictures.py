"""Folders of pictures of prompts: a file for each, or the folder that a benchmark's scorer reads.

- plain: `<key>-<n>.png`, n from 0, in the resolution of the checkpoint
- geneval: `<index:05d>/metadata.jsonl`, the prompt's own mapping, and
  `<index:05d>/samples/<n:05d>.png` of 512 x 512 pixels
- dpg: `<key>.png`, a mosaic of 2 x 2 pictures of 512 x 512 pixels, row by row

Pictures become larger by bicubic interpolation. The text of each PNG states how it was drawn.
"""

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from gear.data.png import save_png
from gear.files.aside import write as write_file
from gear.files.hashes import sha256_once
from gear.files.mistakes import Mistake
from gear.files.outputs import require_writable
from gear.model import joined

SIDE = 512  # pixels of a scorer's picture
TILES = 2  # of a side of DPG's mosaic


def files(output, prompts, count, layout=None):
    """Paths of all files that `write` makes. layout: None | geneval | dpg.

    Mistake: `count` or the prompts do not fit the layout."""
    folder = Path(output)
    if layout == "geneval":
        numbers = [f"{index:05d}" for index in range(len(prompts))]
        found = [folder / number / "metadata.jsonl" for number in numbers]
        return found + [folder / n / f"samples/{j:05d}.png" for n in numbers for j in range(count)]
    if layout == "dpg":
        if count != TILES**2:
            raise Mistake(f"`count` is {count}, but a mosaic of dpg has 4 pictures; leave it out.")
        lacking = next((n for n, p in enumerate(prompts, 1) if "key" not in p.line), None)
        if lacking:
            raise Mistake(
                f"dpg knows a picture by its prompt's key, and prompt {lacking} has none; give a "
                ".jsonl of {key, prompt} with `prompts`."
            )
        return [folder / f"{prompt.key}.png" for prompt in prompts]
    return [folder / f"{prompt.key}-{j}.png" for prompt in prompts for j in range(count)]


def require_new(output, force):
    """Mistake: the folder is a file or holds files already, or cannot be written."""
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise Mistake(f"`output` {output} is a file; name a folder, or a grid that ends in .png.")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise Mistake(f"`output` {output} holds files; name another folder, or add `force`.")
    require_writable(folder / "0.png", f"`output` {output}")


def notes(model, options):
    """{key: text} for the PNGs: how they were drawn, and from which weights.

    The batch is left out, because it changes no picture."""
    said = {k: str(v) for k, v in options.items() if v not in (None, "") and k != "batch"}
    weights = sha256_once(model.folder / "weights.safetensors")
    return said | {"checkpoint_sha256": weights, "tokenizer_sha256": model.tokenizer_sha256}


def write(output, parts, prompts, count, layout, notes):
    """Write the pictures as they are drawn; returns their Samples without the images.

    parts: Samples, prompt by prompt; notes: {key: text} of each PNG."""
    places = files(output, prompts, count, layout)
    for place, prompt in zip(_metadata(places), prompts, strict=False):  # of geneval alone
        write_file(place, json.dumps({"prompt": prompt.caption} | prompt.line) + "\n")
    pngs = [place for place in places if place.suffix == ".png"]
    each = len(prompts) * count // len(pngs)  # pictures of a file
    done, waiting, kept = 0, [], []
    for part in parts:
        kept.append(part._replace(images=part.images[:0]))
        for image_CHW in part.images:
            waiting.append(image_CHW.permute(1, 2, 0).numpy())
            if len(waiting) == each:
                prompt, number = divmod(done * each, count)
                shown = str(number) if each == 1 else f"0 to {each - 1}"
                text = {"prompt": prompts[prompt].caption, "number": shown}
                picture = waiting[0] if layout is None else mosaic([*map(scaled, waiting)])
                save_png(pngs[done], picture, notes | text)
                done, waiting = done + 1, []
    return joined(kept)


def _metadata(places):
    return [place for place in places if place.name == "metadata.jsonl"]


def scaled(picture_HWC):
    """uint8 (512, 512, 3) of a picture of 1 or 3 channels."""
    picture = picture_HWC[..., 0] if picture_HWC.shape[2] == 1 else picture_HWC
    colour = Image.fromarray(picture).convert("RGB")
    return np.asarray(colour.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def mosaic(pictures):
    """One picture of a square number of them, row by row."""
    side = math.isqrt(len(pictures))
    rows = (pictures[i : i + side] for i in range(0, len(pictures), side))
    return np.concatenate([np.concatenate(row, 1) for row in rows])
