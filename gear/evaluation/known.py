"""Scores of images that this repository makes, compared with committed numbers.

Two sets of images are functions of their number. They are scored on a stand-in network whose
weights are made by a formula, and on every public feature network whose file is here. Where
known.json has numbers of the same weights, the scores must equal them: then resizing, network and
metric do on this machine what they did where the numbers were taken. Only numbers of the formula's
weights are known so far, because the public files were never here.

    python -m gear.evaluation.known      # writes the numbers of the formula's weights
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gear.evaluation import networks
from gear.features import standin
from gear.files.mistakes import Mistake
from gear.metrics.protocol import Summary, measured, named
from gear.runtime import rng

FILE = Path(__file__).with_suffix(".json")
COUNT, SIDE, CELL = 32, 32, 8  # images of a set, their pixels a side, pixels of a flat square
SHARP = 16  # factor of the class matrix
FORMULA = "formula"  # name of the stand-in's weights
NEAR = 1e-3  # allowed relative difference: another processor rounds in another way


@dataclass(frozen=True)
class Scored:
    """Scores of one protocol. known: the committed ones, or None."""

    protocol: str
    weights: str
    values: dict
    known: dict | None

    @property
    def agrees(self):
        """Whether the scores are the committed ones, as far as there are some."""
        known = (self.known or {}).items()
        return all(abs(self.values[k] - v) <= NEAR * max(abs(v), 1e-3) for k, v in known)


def images(side):
    """uint8 (COUNT, 3, SIDE, SIDE) of the set `real` or `fake`: flat squares and noise."""
    cells = SIDE // CELL
    flat = rng.uniform(("known", side), np.arange(COUNT * 3 * cells**2))
    noise = rng.uniform(("known", side, "noise"), np.arange(COUNT * 3 * SIDE**2))
    flat = flat.reshape(COUNT, 3, cells, cells).repeat(CELL, 2).repeat(CELL, 3)
    shift = 40 * (side == "fake")
    values = 200 * flat + 50 * noise.reshape(COUNT, 3, SIDE, SIDE) - shift
    return torch.from_numpy(values.clip(0, 255).astype(np.uint8))


def formula_network():
    """The stand-in classifier with weights that are functions of their place.

    Matrices have the variance 2 / fan-in, so that the features depend on the image and not mostly
    on biases. SHARP makes the classes differ, without which the Inception score is 1."""
    network = standin.StandinClassifier(3, SIDE, 10)
    state = {}
    for name, tensor in network.state_dict().items():
        u = 2 * rng.uniform(("known", name), np.arange(tensor.numel())) - 1
        if tensor.ndim > 1:
            values = u * (6 / tensor[0].numel()) ** 0.5
        else:
            values = u / 2 + ("norms" in name and name.endswith("weight"))
        state[name] = torch.from_numpy(values.reshape(tensor.shape)).float()
    state["to_class.weight"] *= SHARP
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def score(protocol, extract):
    """{metric: value} of the set `fake` against the set `real`."""
    protocol, batch = named(protocol), 16
    real, fake = (
        Summary.of(protocol, map(extract, images(side).split(batch))) for side in ("real", "fake")
    )
    settings = {"images": COUNT, "prdc_images": COUNT, "split_size": None}
    return measured(protocol, fake, real, settings)[0]


def scored(protocol, weights, extract):
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    return Scored(protocol, weights, score(protocol, extract), known.get(f"{protocol} {weights}"))


def all_scored(device="cpu"):
    """A Scored of the formula's weights, then of each file of weights that is here.

    A Mistake in place of it, where a file is refused."""
    yield scored("demo", FORMULA, partial(standin.extract, formula_network()))
    for protocol in networks.WAYS:
        if Path(networks.default_file(protocol)).is_file():
            try:
                extract = networks.load(protocol, device=device)
                yield scored(protocol, extract.weights, extract)
            except Mistake as error:
                yield error


def main():
    from gear.files.aside import write_json

    extract = partial(standin.extract, formula_network())
    write_json(FILE, {f"demo {FORMULA}": score("demo", extract)})


if __name__ == "__main__":
    main()
