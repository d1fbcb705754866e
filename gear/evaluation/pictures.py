"""Pictures out of a scored archive: the first images of some classes, decoded. None is chosen.

python -m gear.evaluation.pictures --job JSON --samples FILE.npz --tokenizer DIR --output FILE.npz
"""

import argparse
import json

import numpy as np

from gear import config
from gear.evaluation.score import load_samples
from gear.runtime.device import setup
from gear.sampling.decode import decode
from gear.sampling.generate import save_arrays
from gear.tokenizer.load import load_frozen

CLASSES, EACH = 10, 10  # at most so many classes, evenly spaced, and images of each


def first_of_each(labels, classes):
    """Numbers of the first EACH images of up to CLASSES of `classes` classes, class by class."""
    wanted = np.unique(np.linspace(0, classes - 1, min(CLASSES, classes)).round().astype(int))
    return np.concatenate([np.flatnonzero(labels == c)[:EACH] for c in wanted])


def main():
    parser = argparse.ArgumentParser(description="Decode the first samples of each class.")
    parser.add_argument("--job", required=True, type=json.loads)
    for name in ("samples", "tokenizer", "output"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    setup(config.build(args.job["settings"]))
    samples = load_samples(args.samples)
    chosen = first_of_each(samples["labels"], args.job["classes"])
    images = decode(load_frozen(args.tokenizer), samples["tokens"][chosen])
    arrays = {"samples": images.permute(0, 2, 3, 1).contiguous().numpy()}
    save_arrays(args.output, arrays | {k: samples[k][chosen] for k in ("labels", "seeds")})


if __name__ == "__main__":
    main()
