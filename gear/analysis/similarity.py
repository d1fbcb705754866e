"""Similarity of a checkpoint's features to its teacher's, and their spatial smoothness.

Paper Table 4 and Figure 5.
- CKNNA and CKA with the teacher: of the tokenizer, before and after quantization, and of every AR
  layer
- patch level: the samples are the positions of an image; one value per image
- image level: the samples are the images of a batch, with features averaged over positions; one
  value per batch, because the authors' earlier code averages over batches
- Moran's I and high-frequency share, of the AR layers and the teacher: one value per image
- weights are averaged weights in float32, measures are float64; all checkpoints use the same images

python -m gear.analysis.similarity --job JSON --checkpoint DIR --tokenizer DIR --teacher DIR
    --output FILE.json [--data MANIFEST]
"""

import argparse
import dataclasses
import json

import torch
import torch.nn.functional as F

from gear import config
from gear.alignment.teachers.load import load_teacher
from gear.analysis.cka import cka
from gear.analysis.cknna import cknna
from gear.analysis.features import ar_states, tokenizer_features
from gear.analysis.hsic import ESTIMATORS
from gear.analysis.moran import morans_i
from gear.analysis.spectrum import high_frequency_share
from gear.ar.load import load_ar
from gear.data.memory import to_float
from gear.data.sets import piece_of, validation_set
from gear.files.aside import write_json
from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import status_of
from gear.runtime import checkpoint, rng
from gear.runtime.device import setup, use
from gear.runtime.progress import say
from gear.tokenizer.load import load_frozen

KERNELS = ("inner", "cosine")
ALIKE, SPATIAL = ("cknna", "cka"), ("moran", "fft_high")
LEVELS = ("image", "patch")


@dataclasses.dataclass(frozen=True)
class Choices:
    """Choices that the paper does not state; settings `analysis` of a study.

    Mistake: an unknown choice, or images that are no multiple of the batch."""

    batch: int  # images of a set at image level
    neighbours: dict  # k of CKNNA: {'image': k, 'patch': k}
    kernel: str  # inner: inner products of features; cosine: of features scaled to unit length
    cka: str  # HSIC of CKA, biased or unbiased (CKNNA's is unbiased)
    cutoff: float  # lower limit of high frequencies, in cycles per token
    images: int | None = None  # validation images; None: as many whole batches as there are

    def __post_init__(self):
        for name, known in (("kernel", KERNELS), ("cka", ESTIMATORS)):
            value = getattr(self, name)
            if value not in known:
                cure = did_you_mean(value, known)
                raise Mistake(f"analysis.{name} cannot be '{value}'. {cure}")
        images = self.batch if self.images is None else self.images
        if self.batch < 1 or images < 1 or images % self.batch:
            raise Mistake(
                f"analysis.images {images} is no multiple of analysis.batch {self.batch}; set one "
                "that is."
            )

    def among(self, count):
        """The choices with a number of images, where there are `count`."""
        images = count // self.batch * self.batch if self.images is None else self.images
        return dataclasses.replace(self, images=max(images, self.batch))

    def alike(self, x_BND, y_BNF, level):
        """{'cknna': (B,), 'cka': (B,)} of two features of the same sets and samples."""
        if self.kernel == "cosine":
            x_BND, y_BNF = (F.normalize(z.double(), dim=-1) for z in (x_BND, y_BNF))
        near = cknna(x_BND, y_BNF, self.neighbours[level])
        return {"cknna": near, "cka": cka(x_BND, y_BNF, self.cka)}

    def spatial(self, x_BND):
        """{'moran': (B,), 'fft_high': (B,)} of features on the token grid."""
        share = high_frequency_share(x_BND, self.cutoff)
        return {"moran": morans_i(x_BND), "fft_high": share}


class Tally:
    """Collects the values of each measure of each feature, batch by batch."""

    def __init__(self):
        self.values = {}

    def add(self, name, values):
        """Add {measure: (B,)} of the features `name`; nan: an image has no value."""
        for measure, values_B in values.items():
            self.values.setdefault((measure, name), []).append(values_B.cpu())

    def __call__(self, measure, name):
        """(mean, sample sd or None, number of nan) of the collected values.

        Mistake: no value is defined."""
        values = torch.cat(self.values[measure, name])
        defined = values[values.isfinite()]
        if not len(defined):
            raise Mistake(
                f"{measure} of the features '{name}' is undefined in every image, because they do "
                "not vary (a collapsed codebook); leave this checkpoint out of the analysis."
            )
        sd = defined.std().item() if len(defined) > 1 else None
        return defined.mean().item(), sd, len(values) - len(defined)


class Checkpoint:
    """The networks of a checkpoint: tokenizer and AR, with the teacher."""

    def __init__(self, folder, tokenizer, teacher, settings, device):
        """folder, tokenizer, teacher: of the checkpoint, its tokenizer and its teacher.

        The tokenizer's folder is the checkpoint's, or that of its frozen tokenizer."""
        self.own_tokenizer, self.ar, self.aligned = folder == tokenizer, None, None
        self.tokenizer = load_frozen(tokenizer).to(device)
        self.teacher = load_teacher(teacher, settings.data).to(device)
        if checkpoint.holds(f"{folder}/weights.safetensors", "ar"):
            ar, trained = load_ar(folder)
            self.ar, self.aligned = ar.to(device), trained.align.layer

    def names(self):
        """(names of the tokenizer's features, names of the AR's layers); both may be empty."""
        layers = range(len(self.ar.blocks) + 1) if self.ar else ()
        return ("pre", "post") if self.own_tokenizer else (), [f"layer {i}" for i in layers]

    def features(self, images, labels):
        """({name: (B, N, D)}, teacher's features (B, N, F)) of images in [-1, 1]."""
        tokens, features = tokenizer_features(self.tokenizer, images)
        features = features if self.own_tokenizer else {}
        if self.ar:
            states = ar_states(self.ar, tokens, self.ar.condition(labels))
            features |= {f"layer {i}": state for i, state in enumerate(states)}
        return features, self.teacher(images)


def gather(subject, data, choices, size, device):
    """The Tally of a Checkpoint over choices.images images of `data`.

    size: images per forward pass. Mistake: fewer images than choices.images."""
    if choices.images > len(data):
        raise Mistake(
            f"analysis.images is {choices.images}, but there are {len(data)} validation images; "
            "set it to at most that many."
        )
    order = torch.from_numpy(rng.permutation(("analysis",), len(data)))[: choices.images]
    tally = Tally()
    for batch in order.split(choices.batch):
        pooled = {}
        for numbers in batch.split(size):
            images = to_float(data.take(numbers.numpy())).to(device)
            features, target = subject.features(images, data.labels[numbers].to(device))
            for name, x_BND in features.items():
                values = choices.alike(x_BND, target, "patch")
                tally.add(name, {f"{key}_patch": value for key, value in values.items()})
            for name, x_BND in {**features, "teacher": target}.items():
                if name not in ("pre", "post"):
                    tally.add(name, choices.spatial(x_BND))
                pooled.setdefault(name, []).append(x_BND.double().mean(1))
        target = torch.cat(pooled.pop("teacher"))[None]
        for name, parts in pooled.items():
            values = choices.alike(torch.cat(parts)[None], target, "image")
            tally.add(name, {f"{key}_image": value for key, value in values.items()})
    return tally


def report(subject, tally):
    """The content of the JSON file: means, sample sds, numbers of undefined values."""
    tokenizer, layers = subject.names()
    alike = [f"{measure}_{level}" for measure in ALIKE for level in LEVELS]
    content, undefined = {}, {}

    def values(measure, name):
        mean, sd, count = tally(measure, name)
        if count:
            undefined[f"{measure} of {name}"] = count
        return mean, sd

    if tokenizer:
        pairs = {f"{m}_{name}": values(m, name) for m in alike for name in tokenizer}
        content["similarity"] = {key: mean for key, (mean, _) in pairs.items()}
        content["similarity_sd"] = {key: sd for key, (_, sd) in pairs.items()}
    if layers:
        content["layers"] = {}
        for measure in (*alike, *SPATIAL):
            means, sds = zip(*(values(measure, name) for name in layers), strict=True)
            content["layers"][measure] = {"mean": means, "sd": sds}
        content["states"] = {
            f"{measure}_{place}": content["layers"][measure]["mean"][layer]
            for measure in alike
            for place, layer in (("aligned", subject.aligned), ("last", -1))
        }
    teacher = {measure: values(measure, "teacher") for measure in SPATIAL}
    content["teacher"] = {m: {"mean": mean, "sd": sd} for m, (mean, sd) in teacher.items()}
    return content | {"undefined": undefined}


def analyse(job, args):
    """Write the analysis of one checkpoint; null if it or its tokenizer diverged."""
    settings, choices = config.build(job["settings"]), Choices(**job["analysis"])
    setup(settings)
    if "diverged" in map(status_of, (args.checkpoint, args.tokenizer)):
        content = dict.fromkeys(("similarity", "similarity_sd", "layers", "states", "teacher"))
    else:
        device = use()
        data = validation_set(settings, args.data)
        choices = choices.among(len(data))
        subject = Checkpoint(args.checkpoint, args.tokenizer, args.teacher, settings, device)
        tally = gather(subject, data, choices, piece_of(settings), device)
        content = report(subject, tally)
        for name, count in content["undefined"].items():
            say(f"{name} is undefined in {count} images, which do not vary; they are left out")
    write_json(args.output, content | {"choices": job["analysis"] | {"images": choices.images}})


def main():
    parser = argparse.ArgumentParser(description="Compare a checkpoint's features with a teacher's")
    parser.add_argument("--job", required=True, type=json.loads)
    for name in ("checkpoint", "tokenizer", "teacher", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--data", help="manifest of the images, where data.hold is stream")
    args = parser.parse_args()
    analyse(args.job, args)


if __name__ == "__main__":
    main()
