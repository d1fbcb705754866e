"""Scores of generated samples under a protocol: tokens -> images -> features -> metrics.

python -m gear.metrics.score --job JSON --samples FILE.npz --tokenizer DIR --features DIR
    --output FILE.json
"""

import argparse
import json
from zipfile import BadZipFile

import numpy as np

from gear import config
from gear.metrics.protocol import generation_metrics
from gear.metrics.resize import resized
from gear.runtime import checkpoint
from gear.runtime.loop import setup
from gear.sampling.decode import decode
from gear.tokenizer.load import load_frozen

GENERATION = ("gfid", "sfid", "is", "precision", "recall")


class Scorer:
    """A protocol with its feature network and reference, loaded first, in case that fails."""

    def __init__(self, protocol, features):
        """protocol: a study's protocols.generation; features: folder of its feature network."""
        self.name = protocol["name"]
        if self.name != "demo":
            raise ValueError(
                f"protocol '{self.name}' is not built yet; score with a study whose "
                "protocols.generation is 'demo'."
            )
        from gear.metrics import standin

        self.settings = {k: v for k, v in protocol.items() if k != "name"}
        self.network = standin.load_network(features)
        self.reference = standin.load_reference(features)
        size = checkpoint.read_json(f"{features}/run.json")["shape"]["resolution"]
        self.extract = lambda images: standin.extract(self.network, resized(images, size))

    def __call__(self, images_uint8):
        """{protocol: {gfid, sfid, is, precision, recall}} of uint8 images (N, C, H, W)."""
        found = self.extract(images_uint8)
        return {self.name: generation_metrics(found, self.reference, self.settings)}

    def nothing(self):
        """The scores of a run that diverged."""
        return {self.name: dict.fromkeys(GENERATION)}


def load_samples(path):
    """The arrays of a samples file. ValueError where it is half-written."""
    try:
        with np.load(path) as file:
            return {k: file[k] for k in ("tokens", "labels", "seeds")}
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"{path} is no complete samples file ({error}); remove it and draw again."
        ) from None


def main():
    parser = argparse.ArgumentParser(description="Score one sampler's images.")
    parser.add_argument("--job", required=True, type=json.loads)
    for name in ("samples", "tokenizer", "features", "output"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    setup(config.build(args.job["settings"]))
    scorer = Scorer(args.job["protocol"], args.features)
    samples = load_samples(args.samples)
    images = decode(load_frozen(args.tokenizer), samples["tokens"])
    checkpoint.write_json(args.output, scorer(images))


if __name__ == "__main__":
    main()
