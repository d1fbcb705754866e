"""Scores of generated samples under a protocol: tokens -> images -> features -> metrics.

python -m gear.evaluation.score --job JSON --samples FILE.npz --tokenizer DIR --features DIR
    --output FILE.json
"""

import argparse
import json

import numpy as np

from gear import config
from gear.evaluation import networks, notes
from gear.features import standin
from gear.features.resize import aliased, resized
from gear.files.arrays import keys, read_arrays
from gear.files.aside import write_json
from gear.files.mistakes import Mistake
from gear.files.reading import read_record, required
from gear.metrics import ALIASED
from gear.metrics.protocol import Summary, chosen_settings, measured, named, require_count
from gear.runtime.device import setup, use
from gear.sampling.decode import decoded, decoded_floats
from gear.tokenizer.load import load_frozen

# the kind of features that a protocol is computed on, else inception
KINDS = {"demo": "standin", "demo_text": "standin", "fdd": "dinov2"}


class Scorer:
    """A protocol with its feature network and reference, loaded first, in case that fails."""

    def __init__(self, protocol, features, device="cpu"):
        """protocol: a study's protocols.generation; features: folder of its feature network."""
        self.protocol = named(protocol["name"])
        self.settings = {k: v for k, v in protocol.items() if k not in ("name", "aliased")}
        self.aliased = protocol.get("aliased", False)
        chosen_settings(self.protocol, self.settings)
        record = read_record(f"{features}/run.json")
        self.kind = record.get("kind", "standin")
        if KINDS.get(self.protocol.name, "inception") != self.kind:
            raise Mistake(
                f"protocol {self.protocol.name} is not computed on {self.kind} features "
                f"({features}); set the study's features.kind, or another protocol."
            )
        load = {"standin": self._standin, "inception": self._inception, "dinov2": self._dinov2}
        load[self.kind](features, record, device)

    def _standin(self, features, record, device):
        from gear.evaluation.reference import of_features

        network = standin.load_network(features).to(device)
        self.reference = of_features(standin.load_reference(features), self.protocol)
        self.size = standin.shape_of(features)["resolution"]
        self.extract = lambda images: standin.extract(network, resized(images, self.size))
        self.pooled = lambda images: self.extract(images).pooled_ND

    def _inception(self, features, record, device):
        from gear.evaluation import reference
        from gear.features import inception

        network = inception.load_folder(features).to(device)
        weights = self._weights(record, f"{features}/run.json")
        extract = networks.extractor(self.protocol.name, network, weights)
        self.extract = lambda images: extract(resized(images, self.size) if self.size else images)
        path = f"{features}/reference.npz"
        own = reference.read(path, self.protocol, weights)
        self.reference = own.summary
        self.size = own.size and own.size[0]  # of its images, if it has some

        def pooled(images):
            networks.require_colour(images, "rFID on Inception features")
            return inception.pytorch_fid(network, images).pooled_ND

        self.pooled = pooled

    def _dinov2(self, features, record, device):
        from gear.evaluation import reference
        from gear.features import dinov2

        network = dinov2.load_folder(features).to(device)
        weights = self._weights(record, f"{features}/run.json")
        self.extract = networks.extractor(self.protocol.name, network, weights)
        self.reference = reference.read(f"{features}/reference.npz", self.protocol, weights).summary
        self.size = None  # of any size: they are resized for the network

    @staticmethod
    def _weights(record, path):
        """The sha256 of the network's weights that run.json states."""
        return required(required(record, "weights", dict, path), "sha256", str, path)

    def __call__(self, batches, seen=lambda images, features: None):
        """{protocol: {metric: value}} of batches of uint8 images (n, C, H, W).

        `notes`, where something does not fit the protocol: sentences (gear.evaluation.notes).
        seen(images, features): called with each batch."""
        sizes = set()

        def features():
            for images in batches:
                sizes.add(tuple(images.shape[2:]))
                found = self.extract(images)
                seen(images, found)
                yield found

        fake = Summary.of(self.protocol, features())
        values, _ = measured(self.protocol, fake, self.reference, self.settings)
        wanted = self.size and (self.size, self.size)
        said = [
            *notes.of_counts(self.protocol, fake.count, self.reference),
            *notes.of_sizes(sizes, wanted),
        ]
        return {self.protocol.name: values} | ({"notes": said} if said else {})

    def of_tokens(self, tokenizer, tokens):
        """The scores of the images that a tokenizer makes of tokens (N, T).

        Where the protocol has `aliased`, images of another size than the reference's are scored
        again, resized as published, under ALIASED."""
        found = self(decoded(tokenizer, tokens))
        side = int(np.shape(tokens)[1] ** 0.5) * tokenizer.downsampling
        if self.aliased and self.size not in (None, side):
            floats = decoded_floats(tokenizer, tokens)
            again = self(aliased(images, self.size) for images in floats)
            found[ALIASED.format(self.protocol.name)] = again[self.protocol.name]
        return found

    def of_samples(self, tokenizer, samples):
        """The scores of the arrays of a samples file; those of captions have a record."""
        found = self.of_tokens(tokenizer, samples["tokens"])
        return found | (
            {"record": json.loads(str(samples["record"]))} if "record" in samples else {}
        )

    def nothing(self):
        """The scores of a run that diverged."""
        names = [self.protocol.name]
        names += [ALIASED.format(self.protocol.name)] if self.aliased else []
        return {name: dict.fromkeys(self.protocol.metrics) for name in names}


def load_samples(path):
    """The arrays of a samples file. Mistake where it is half-written."""
    cure = "remove it and draw again"
    own = ("prompts", "record") if "prompts" in keys(path, cure) else ("labels",)
    return read_arrays(path, ("tokens", "seeds", *own), cure)


def main():
    parser = argparse.ArgumentParser(description="Score one sampler's images.")
    parser.add_argument("--job", required=True, type=json.loads)
    for name in ("samples", "tokenizer", "features", "output"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    setup(config.build(args.job["settings"]))
    device = use()
    scorer = Scorer(args.job["protocol"], args.features, device)
    samples = load_samples(args.samples)
    require_count(len(samples["tokens"]), args.job["protocol"].get("images"), f"{args.samples}: ")
    tokenizer = load_frozen(args.tokenizer).to(device)
    write_json(args.output, scorer.of_samples(tokenizer, samples))


if __name__ == "__main__":
    main()
