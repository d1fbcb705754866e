"""The demo's captioned images: digits with captions measured on them, in shards of unequal sizes.

    python -m gear.data.captions --input data/digits --output data/digits-shards --seed 0

reads <input>/{train,val}/<class>/*.png with their manifest, and writes
<output>/{train,val}/<number>.tar and <output>/manifest.json. Every sample is `{key}.json`
(caption, caption_type) and `{key}.png`, the file of the input as it is.

A caption names the digit, the width of its stroke (thin, bold, or no word between) and its slant
(leaning left, leaning right, or no word where it is upright):

- stroke: 2 ink / total variation, in pixels of an image of 16 x 16. A straight stroke of width w
  and length l has the ink wl and two edges of length l, so this is w. The total variation is the
  sum of the absolute differences of pixels side by side; an edge at the image's border has none.
- slant: the angle of x = y tan(slant) by the second moments of the ink. It is positive where the
  digit leans right, as an italic / does.

Of the demo's 10,240 digits, each word is true of more than a tenth (thin 0.31, bold 0.38, left
0.33, right 0.33). So no threshold had to be moved. The shares are printed, with a warning for each
that is less than a tenth. Captions of the kind `short` do not name the slant.

The same settings give the same bytes. Kinds, order and the sizes of shards are functions of (seed,
split, image), and the headers of the tars hold no time and no user. Shapes: N images, H, W pixels.
"""

import argparse
import io
import json
import re
import tarfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np

from gear.data.digits import SPLITS, folder_digest, uniform, whole_folder
from gear.data.finding import list_images
from gear.data.folder import class_folders, manifest_digest
from gear.data.transforms import open_image
from gear.files.mistakes import Mistake, counted

THIN, BOLD = 2.65, 2.95  # pixels of 16
LEFT, RIGHT = -7.0, 2.0  # degrees
SIDE = 16  # pixels of the image in which THIN and BOLD are meant
LEAST = 0.1  # share of the images that a word should have
NAMES = "zero one two three four five six seven eight nine".split()
STROKES, SLANTS = {-1: "thin", 1: "bold"}, {-1: "left", 1: "right"}
KINDS = ("tags", "short", "medium", "long")
MEAN, FEWEST = 512, 8  # samples of a shard on average, and shards of a split, about


def stroke(images_NHW):
    """(N,) float64: widths of the strokes of uint8 images, in pixels; 0 where there is no ink."""
    x_NHW = np.asarray(images_NHW, np.float64)
    variation = np.abs(np.diff(x_NHW, axis=1)).sum((1, 2))
    variation += np.abs(np.diff(x_NHW, axis=2)).sum((1, 2))
    ink = x_NHW.sum((1, 2))
    return 2 * ink / np.where(variation > 0, variation, np.inf)


def slant(images_NHW):
    """(N,) float64: slants of uint8 images in degrees, right positive; 0 where there is no ink."""
    x_NHW = np.asarray(images_NHW, np.float64)
    _, H, W = x_NHW.shape
    ink = np.maximum(x_NHW.sum((1, 2)), 1e-9)
    down, across = np.arange(H, dtype=np.float64), np.arange(W, dtype=np.float64)
    y_NH = down - (x_NHW.sum(2) @ down / ink)[:, None]
    x_NW = across - (x_NHW.sum(1) @ across / ink)[:, None]
    xy = np.einsum("nhw,nh,nw->n", x_NHW, y_NH, x_NW)
    yy = np.einsum("nhw,nh->n", x_NHW, y_NH**2)
    return np.degrees(np.arctan2(-xy, np.maximum(yy, 1e-9)))  # y counts down


def signs(images_NHW):
    """((N,) of -1 thin, 0, 1 bold; (N,) of -1 left, 0 upright, 1 right)."""
    width, angle = stroke(images_NHW) * (SIDE / np.shape(images_NHW)[2]), slant(images_NHW)
    return (
        (width > BOLD).astype(int) - (width < THIN),
        (angle > RIGHT).astype(int) - (angle < LEFT),
    )


def caption(kind, digit, stroke=0, slant=0):
    """The caption of one of KINDS. stroke: -1 thin, 1 bold; slant: -1 left, 1 right; 0: no word."""
    width, name = STROKES.get(stroke, ""), NAMES[digit]
    leaning = f"leaning {SLANTS[slant]}" if slant else ""
    if kind == "tags":
        return ", ".join(filter(None, [str(digit), width, leaning]))
    if kind == "short":
        words = [width, name]
    elif kind == "medium":
        words = [width, "handwritten", name, leaning]
    else:
        strokes = f" in {width} strokes" if width else ""
        return f"A handwritten digit {name}{strokes}{leaning and f', {leaning}'}."
    text = " ".join(filter(None, words))
    return f"{'an' if text.startswith('eight') else 'a'} {text}"


def words_of(text):
    """{digit: 0..9, stroke: -1 | 0 | 1, slant: -1 | 0 | 1} that a caption names.

    All three are None where it names no digit; 0 where it has no word for stroke or slant."""
    words = re.findall(r"[a-z]+|[0-9]+", text.lower())
    digits = [NAMES.index(w) if w in NAMES else int(w) for w in words if w in {*NAMES, *DIGITS}]
    if not digits:
        return dict.fromkeys(("digit", "stroke", "slant"))
    sign = {word: value for value, word in (*STROKES.items(), *SLANTS.items())}
    widths = [sign[w] for w in words if w in STROKES.values()]
    sides = [sign[b] for a, b in pairwise(words) if a == "leaning" and b in SLANTS.values()]
    return {"digit": digits[0], "stroke": (*widths, 0)[0], "slant": (*sides, 0)[0]}


DIGITS = tuple(map(str, range(10)))


def read_split(folder, side):
    """(paths, digits (N,), images (N, H, W) uint8) of a split. Mistake: it holds no digits.

    side: pixels that each image must have."""
    paths = [f / name for f in class_folders(folder, 10) for name in list_images(f)[0]]
    digits = np.array([int(p.parent.name) if p.parent.name in DIGITS else -1 for p in paths])
    if not paths or (digits < 0).any():
        raise Mistake(
            f"{folder} does not hold the digits 0 to 9 as class folders; make it with "
            "python -m gear.data.digits."
        )
    return paths, digits, np.stack([read_image(p, side) for p in paths])


def read_image(path, side):
    """(H, W) uint8 of a digit. Mistake: it has another size."""
    image = open_image(path, 1)
    if image.size != (side, side):
        raise Mistake(
            f"{path} has {image.width} x {image.height} pixels and not {side} x {side}; make the "
            "digits in that size, or correct --resolution."
        )
    return np.asarray(image)


def shard_sizes(count, u):
    """Sizes of the shards of a split, which add up to `count`; u: random numbers in [0, 1)."""
    mean, sizes = max(1, min(MEAN, count // FEWEST)), []
    for value in u:
        sizes.append(min(1 + int(value * (2 * mean - 1)), count - sum(sizes)))
        if sum(sizes) == count:
            return sizes
    raise AssertionError("there are as many numbers as images")


def write_shard(path, samples):
    """Write a tar of samples (key, {caption, caption_type}, path of the image)."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, record, image in samples:
            text = json.dumps(record, sort_keys=True, ensure_ascii=False)
            for name, data in (
                (f"{key}.json", text.encode()),
                (f"{key}{image.suffix.lower()}", image.read_bytes()),
            ):
                member = tarfile.TarInfo(name)  # mtime, uid and gid are 0
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def write_split(source, output, index, seed, side):
    """(shards {name: samples}, Counter of words, Counter of kinds) of a split, written here."""
    paths, digits, images = read_split(source, side)
    widths, leanings = signs(images)
    numbers = np.argsort(uniform(len(paths), seed, index, 0), kind="stable")
    kinds = [KINDS[int(4 * u)] for u in uniform(len(paths), seed, index, 1)]
    sizes = shard_sizes(len(paths), uniform(len(paths), seed, index, 2))
    output.mkdir(parents=True)
    shards, begin = {}, 0
    for number, size in enumerate(sizes):
        samples = []
        for i in numbers[begin : begin + size]:
            text = caption(kinds[i], digits[i], widths[i], leanings[i])
            record = {"caption": text, "caption_type": kinds[i]}
            samples.append((f"{digits[i]}_{paths[i].stem}", record, paths[i]))
        shards[f"{number:05d}.tar"] = size
        write_shard(output / f"{number:05d}.tar", samples)
        begin += size
    words = Counter(STROKES[w] for w in widths if w) + Counter(SLANTS[s] for s in leanings if s)
    return shards, words, Counter(kinds)


def make(source, output, seed, resolution=None):
    """The manifest of the shards `output`, which are written here from the digits `source`.

    resolution: pixels a side that the digits must have; None: any, all the same. Mistake: no
    digits, another size, or an output that holds other files."""
    source, output = Path(source), Path(output)
    if output.resolve() == source.resolve():
        raise Mistake(f"{output} is the folder of the digits; give another --output.")
    if seed < 0:
        raise Mistake(f"seed is {seed}; set --seed to 0 or a positive number.")
    digest = manifest_digest(source)
    side = resolution or json.loads((source / "manifest.json").read_text())["settings"]["size"]
    shards, words, kinds = {}, Counter(), Counter()
    with whole_folder(output) as folder:
        for index, split in enumerate(SPLITS):
            shards[split], more, some_kinds = write_split(
                source / split, folder / split, index, seed, side
            )
            words, kinds = words + more, kinds + some_kinds
        count = sum(sum(s.values()) for s in shards.values())
        names = (*STROKES.values(), *SLANTS.values())
        manifest = {
            "source": "gear.data.digits",
            "settings": {"seed": seed, "resolution": side, "digits_sha256": digest},
            "counts": {split: sum(s.values()) for split, s in shards.items()},
            "shards": shards,
            "kinds": {kind: kinds[kind] for kind in KINDS},
            "words": {name: round(words[name] / count, 4) for name in names},
            "sha256": folder_digest(folder),
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gear.data.captions", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--input", required=True, help="folder of gear.data.digits")
    parser.add_argument("--output", required=True, help="folder to make or to replace")
    parser.add_argument("--seed", type=int, default=0, help="of kinds, order and shards (0)")
    parser.add_argument("--resolution", type=int, help="pixels a side that the digits must have")
    args = parser.parse_args(argv)
    try:
        manifest = make(args.input, args.output, args.seed, args.resolution)
    except Mistake as mistake:
        raise SystemExit(f"gear.data.captions: {mistake}") from None
    for split, count in manifest["counts"].items():
        print(f"{split}: {count} samples in {counted(len(manifest['shards'][split]), 'shard')}")
    for word, share in manifest["words"].items():
        few = "; less than a tenth, so move its threshold in gear/data/captions.py"
        print(f"{word}: {share:.3f} of the images{few if share < LEAST else ''}")
    print(f"sha256 {manifest['sha256']}")


if __name__ == "__main__":
    main()
