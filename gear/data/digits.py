"""The demo's data: scikit-learn's 1797 handwritten digits, split, augmented, written as PNG.

    python -m gear.data.digits --output DIR --size 16 --train 8192 --val 2048 --seed 0

writes DIR/{train,val}/<class>/<source>-<variant>.png and DIR/manifest.json. The 1797 sources are
split 1500 / 297 by class *before* they are augmented; file names carry the source's number in
`load_digits`, so that the split can be checked from the folder alone.

The same settings give the same bytes. Every random number is a function of (seed, split, image
number), so a smaller set is the beginning of a larger set. The PNG files are not compressed, so
their bytes do not depend on a compression library. At 16 x 16 compression would save nothing.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from gear.files.aside import room_for
from gear.files.mistakes import Mistake

SPLITS = ("train", "val")
VAL_SOURCES = 297
ROTATION = 15.0  # degrees, largest angle in both directions
SCALE = 0.1  # 0.9 .. 1.1
SHIFT = 1 / 16  # of the image side, largest shift in both directions: 1 pixel of 16
MARGIN = 2  # black source pixels around a digit, so that the rotation cuts off no stroke
OVERSAMPLE = 4  # the affine map works at 4 times the source resolution; then a filter reduces it
PARTS = {*SPLITS, "manifest.json"}  # the content of a prepared folder


def uniform(count: int, *address: int) -> np.ndarray:
    """(count,) float64 in [0, 1), a function of the address (raw Philox)."""
    words = np.random.Philox(np.random.SeedSequence(address)).random_raw(count)
    return (words >> np.uint64(11)) * 2.0**-53


def load_sources() -> tuple[np.ndarray, np.ndarray]:
    """(images (1797, 8, 8) uint8, white on black; labels (1797,))."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target


def split_sources(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """{split: source numbers}; the beginning of each list is balanced by class."""
    sources = {split: [] for split in SPLITS}
    members = [np.flatnonzero(labels == c) for c in range(labels.max() + 1)]
    exact = [VAL_SOURCES * len(m) / len(labels) for m in members]
    quota = [math.floor(e) for e in exact]
    largest_remainders = sorted(range(len(exact)), key=lambda c: quota[c] - exact[c])
    for c in largest_remainders[: VAL_SOURCES - sum(quota)]:
        quota[c] += 1
    for c, numbers in enumerate(members):
        shuffled = numbers[np.argsort(uniform(len(numbers), seed, len(SPLITS), c), kind="stable")]
        for split, part in (("val", shuffled[: quota[c]]), ("train", shuffled[quota[c] :])):
            sources[split] += [((i + 0.5) / len(part), c, n) for i, n in enumerate(part)]
    return {split: np.array([n for *_, n in sorted(s)]) for split, s in sources.items()}


def augment(digit: np.ndarray, size: int, u: np.ndarray) -> Image.Image:
    """An 8-bit image, size x size, of a rotated, scaled and shifted digit.

    digit: 8 x 8; u: 4 numbers in [0, 1)."""
    angle, scale, dx, dy = 2 * u - 1
    angle, zoom = math.radians(ROTATION * angle), 1 + SCALE * scale
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    padded = Image.fromarray(np.pad(digit, MARGIN))
    large = padded.resize([OVERSAMPLE * n for n in padded.size], Image.Resampling.BICUBIC)
    # PIL takes the map from output to input, in pixels; both images rotate about their centres.
    out = OVERSAMPLE * len(digit)
    x, y = out * (0.5 + SHIFT * dx), out * (0.5 + SHIFT * dy)
    middle = large.width / 2
    matrix = (cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y)
    moved = large.transform((out, out), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return moved.resize((size, size), Image.Resampling.BICUBIC)  # an antialiasing filter


def folder_digest(root: str | Path) -> str:
    """sha256 over names and bytes of all files of the splits, sorted by name."""
    root = Path(root)
    digest = hashlib.sha256()
    files = (p for split in SPLITS for p in (root / split).rglob("*") if p.is_file())
    for name, path in sorted((p.relative_to(root).as_posix(), p) for p in files):
        data = path.read_bytes()
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def write_images(root: Path, size: int, images: dict[str, int], seed: int) -> dict:
    """{split: {class: number of images}} of both splits, which are written here."""
    digits, labels = load_sources()
    sources = split_sources(labels, seed)
    classes = [str(c) for c in sorted(set(labels))]
    counts = {split: dict.fromkeys(classes, 0) for split in SPLITS}
    for index, split in enumerate(SPLITS):
        for name in classes:
            (root / split / name).mkdir(parents=True)
        for number in range(images[split]):
            variant, place = divmod(number, len(sources[split]))
            source = sources[split][place]
            image = augment(digits[source], size, uniform(4, seed, index, number))
            name = str(labels[source])
            image.save(root / split / name / f"{source:04d}-{variant:02d}.png", compress_level=0)
            counts[split][name] += 1
    return counts


def prepare(output: str | Path, size: int, train: int, val: int, seed: int) -> dict:
    """The manifest of the folder `output`, which is written here. Mistake: wrong settings."""
    check_settings(size, train, val, seed)
    with whole_folder(output) as folder:
        return write_folder(folder, size, {"train": train, "val": val}, seed)


@contextlib.contextmanager
def whole_folder(output: str | Path) -> Iterator[Path]:
    """Yields a temporary folder, which is renamed to `output` when the block ends without an error.

    Mistake: `output` holds files of another kind. NoRoom: the file system is full."""
    output = Path(output).resolve()
    check_replaceable(output)
    aside = output.with_name(f".{output.name}.partial-{os.getpid()}")
    old = output.with_name(f".{output.name}.old-{os.getpid()}")
    output.parent.mkdir(parents=True, exist_ok=True)
    sweep(output)
    try:
        with room_for(output):
            yield aside
            with contextlib.suppress(FileNotFoundError):
                output.rename(old)
            aside.rename(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_folder(root: Path, size: int, images: dict[str, int], seed: int) -> dict:
    """The manifest of a folder, which is written here with its images."""
    counts = write_images(root, size, images, seed)
    manifest = {
        "source": "sklearn.datasets.load_digits",
        "settings": {"size": size, **images, "seed": seed},
        "counts": counts,
        "sha256": folder_digest(root),
    }
    (root / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest


def sweep(output: Path) -> None:
    """Remove the temporary folders of processes that were killed while they wrote `output`."""
    for part in ("partial", "old"):
        for left in output.parent.glob(f".{output.name}.{part}-*"):
            try:
                os.kill(int(left.name.rpartition("-")[2]), 0)
            except (ProcessLookupError, ValueError):
                shutil.rmtree(left, ignore_errors=True)
            except OSError:  # it runs, as another user
                continue


def check_settings(size: int, train: int, val: int, seed: int) -> None:
    """Mistake: an impossible size, number of images or seed."""
    if not 8 <= size <= 32:
        raise Mistake(
            f"size is {size}, but digits can have 8 to 32 pixels a side; set --size to 16."
        )
    for split, count in (("train", train), ("val", val)):
        if count < 10:
            raise Mistake(
                f"{split} is {count}, too few for one image of each of the 10 classes; "
                f"set --{split} to 10 or more."
            )
    if seed < 0:
        raise Mistake(f"seed is {seed}; set --seed to 0 or a positive number.")


def check_replaceable(output: Path) -> None:
    """Mistake: `output` holds files that this module does not write."""
    if output.exists() and not output.is_dir():
        raise Mistake(f"{output} is a file; give a folder as --output.")
    # hidden files, such as marks of a workflow engine, do not count
    names = {p.name for p in output.iterdir()} if output.exists() else set()
    others = sorted(n for n in names - PARTS if not n.startswith("."))
    if others:
        raise Mistake(
            f"{output} holds '{others[0]}', which is not prepared data and would be "
            "replaced as a whole; give another --output or move that away."
        )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m gear.data.digits", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--output", required=True, help="folder to make or to replace")
    parser.add_argument("--size", type=int, default=16, help="pixels a side (16)")
    parser.add_argument("--train", type=int, default=8192, help="images (8192)")
    parser.add_argument("--val", type=int, default=2048, help="images (2048)")
    parser.add_argument("--seed", type=int, default=0, help="of split and augmentation (0)")
    args = parser.parse_args(argv)
    start = time.perf_counter()
    try:
        manifest = prepare(args.output, args.size, args.train, args.val, args.seed)
    except Mistake as mistake:
        raise SystemExit(f"gear.data.digits: {mistake}") from None
    seconds = time.perf_counter() - start
    print(f"{args.output}: {args.train} + {args.val} images of {args.size} x {args.size} pixels")
    print(f"sha256 {manifest['sha256']}, {seconds:.1f} s")


if __name__ == "__main__":
    main()
