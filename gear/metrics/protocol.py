"""Protocols: named ways to score images, features -> statistics -> metrics.

A protocol is a feature network with its preprocessing (gear/evaluation/networks.py), a reference,
and the measures in the table PROTOCOLS. The formulas are equal for all protocols. Values of
different protocols are never subtracted. Legend: N images, D pooled and S spatial dimensions, C
classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from gear.files.mistakes import Mistake, did_you_mean
from gear.metrics.frechet import Statistics, Stream, frechet_with_bound
from gear.metrics.inception_score import inception_score
from gear.metrics.mmd import mmd
from gear.metrics.prdc import prdc
from gear.runtime import rng


@dataclass(frozen=True)
class Features:
    """Output of a feature network for N images, one row per image, float32.

    Mistake: not matrices, or different numbers of rows."""

    pooled_ND: np.ndarray
    spatial_NS: np.ndarray | None = None
    probs_NC: np.ndarray | None = None

    def __post_init__(self):
        matrices = [x for x in (self.pooled_ND, self.spatial_NS, self.probs_NC) if x is not None]
        if any(x.ndim != 2 for x in matrices) or len({len(x) for x in matrices}) != 1:
            shapes = ", ".join(str(x.shape) for x in matrices)
            raise Mistake(
                f"features have shapes {shapes}; give matrices with one row per image each."
            )

    def part(self, name: str) -> np.ndarray:
        """The matrix with the name `pooled`, `spatial` or `probs`."""
        return {"pooled": self.pooled_ND, "spatial": self.spatial_NS, "probs": self.probs_NC}[name]


@dataclass(frozen=True)
class Summary:
    """Moments and rows of a set of images, as a protocol needs them."""

    count: int
    moments: dict[str, Statistics]
    rows: dict[str, np.ndarray]  # (N, D) each
    _known: dict = field(default_factory=dict, compare=False, repr=False)

    def once(self, name, make):
        """make(), which is computed once: what a measure needs of this side alone."""
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    @classmethod
    def of(cls, protocol: Protocol, batches) -> Summary:
        """The Summary of all Features that `batches` yields, equal for every batch size.

        Mistake: no features, NaN or infinity."""
        count, streams = 0, {part: Stream() for part in protocol.moments}
        pieces = {part: [] for part in protocol.rows}
        for features in batches:
            count += len(features.pooled_ND)
            for part, stream in streams.items():
                stream.add(features.part(part))
            for part, matrices in pieces.items():
                matrices.append(features.part(part))
        if not count:
            raise Mistake("there are no images to score; give some.")
        moments = {part: stream.finish() for part, stream in streams.items()}
        rows = {part: np.concatenate(matrices) for part, matrices in pieces.items()}
        return cls(count, moments, rows)


# ---- measures: (generated, real, settings) -> {metric: value}, {metric: error bound} ------------


@dataclass(frozen=True)
class Measure:
    """One or more metrics, and the moments and rows that they need."""

    metrics: tuple[str, ...]
    compute: Callable
    moments: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


def distance(metric: str, part: str = "pooled") -> Measure:
    """The measure of the Fréchet distance of a part of the features."""

    def compute(fake, real, settings):
        value, bound = frechet_with_bound(fake.moments[part], real.moments[part])
        return {metric: value}, {metric: bound}

    return Measure((metric,), compute, moments=(part,))


def confidence() -> Measure:
    """The measure of the inception score, which does not use the reference."""

    def compute(fake, real, settings):
        return {"is": inception_score(fake.rows["probs"], split_size=settings["split_size"])}, {}

    return Measure(("is",), compute, rows=("probs",))


def neighbourhood(*metrics: str, drawn: bool = False) -> Measure:
    """The measure of precision, recall, density and coverage, or of some of them.

    At most `prdc_images` images per side are used: the first ones, or a random subset (`drawn`)
    that is a function of the side."""

    def subset(summary, side, count):
        rows_ND = summary.rows["pooled"]
        if drawn and count is not None and count < len(rows_ND):
            return rows_ND[rng.permutation(("prdc", side), len(rows_ND))[:count]]
        return rows_ND[:count]

    def compute(fake, real, settings):
        sides = [subset(s, n, settings["prdc_images"]) for s, n in ((real, "real"), (fake, "fake"))]
        values = prdc(*sides, k=settings["neighbours"], once=real.once)
        return {name: values[name] for name in metrics}, {}

    return Measure(metrics, compute, rows=("pooled",))


def discrepancy() -> Measure:
    """The measure of the mean MMD of random subsets."""

    def compute(fake, real, settings):
        return {"mmd": mmd(real.rows["pooled"], fake.rows["pooled"], once=real.once)}, {}

    return Measure(("mmd",), compute, rows=("pooled",))


# ---- protocols -----------------------------------------------------------------------------------

DEFAULTS = {
    "images": None,  # exact number of generated images; None: any number
    "neighbours": 3,  # k of precision and recall
    "prdc_images": None,  # images per side for precision and recall; None: all images
    "split_size": None,  # images per part of the inception score; None: one part
}


@dataclass(frozen=True)
class Protocol:
    name: str
    measures: tuple[Measure, ...]
    published: dict = field(default_factory=dict)  # published settings, which replace DEFAULTS
    square: int | None = None  # side in pixels to which files of any shape are resized

    def _parts(self, kind):
        return tuple(dict.fromkeys(p for m in self.measures for p in getattr(m, kind)))

    @property
    def moments(self) -> tuple[str, ...]:
        """Parts of the features whose mean and covariance the protocol needs."""
        return self._parts("moments")

    @property
    def rows(self) -> tuple[str, ...]:
        """Parts of the features whose rows the protocol needs."""
        return self._parts("rows")

    @property
    def reference_rows(self) -> tuple[str, ...]:
        """Parts whose rows it needs of real images; class probabilities are not used there."""
        return tuple(part for part in self.rows if part != "probs")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics of the protocol."""
        return self._parts("metrics")


_GENERATION = (
    distance("gfid"),
    distance("sfid", "spatial"),
    confidence(),
    neighbourhood("precision", "recall"),
)
_ALL_FOUR = ("precision", "recall", "density", "coverage")
PROTOCOLS = {
    p.name: p
    for p in (
        Protocol("demo", _GENERATION),
        # precision and recall of all samples against all images of the reference batch
        Protocol("adm", _GENERATION, {"images": 50_000, "split_size": 5000}),
        Protocol("clean", (distance("gfid"),), {"images": 50_000}),
        Protocol(
            "fdd",
            (distance("fdd"), neighbourhood(*_ALL_FOUR, drawn=True), discrepancy()),
            {"images": 50_000, "neighbours": 5, "prdc_images": 10_000},
        ),
        # the measures of fdd on the features of a stand-in
        Protocol(
            "demo_text",
            (distance("fdd"), neighbourhood(*_ALL_FOUR, drawn=True), discrepancy()),
            {"neighbours": 5},
        ),
        Protocol("coco", (distance("fid"),), {"images": 5000}, square=256),
    )
}


def named(name: str) -> Protocol:
    """The protocol with this name. Mistake: unknown name."""
    if name not in PROTOCOLS:
        raise Mistake(f"there is no protocol '{name}'. {did_you_mean(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def chosen_settings(protocol: Protocol, settings: Mapping) -> dict:
    """{name: value} of all settings: defaults, published, given. Mistake: a wrong setting."""
    unknown = sorted(set(settings) - set(DEFAULTS))
    if unknown:
        raise Mistake(
            f"unknown metric setting {', '.join(map(repr, unknown))}; known are "
            f"{', '.join(DEFAULTS)}."
        )
    merged = {**DEFAULTS, **protocol.published, **settings}
    if merged["prdc_images"] is not None and merged["prdc_images"] < 1:
        raise Mistake(
            f"prdc_images is {merged['prdc_images']}; set at least 1, or null to use all images."
        )
    return merged


def require_count(count: int, expected: int | None, where: str = "") -> None:
    """Mistake: another number of generated images than the protocol needs (None: any)."""
    if expected is not None and count != expected:
        raise Mistake(
            f"{where}found {count} generated images, the protocol needs exactly {expected}; draw "
            f"{expected} images, or set images: {count} in the protocol."
        )


def measured(protocol: Protocol, fake: Summary, real: Summary, settings: Mapping) -> tuple:
    """({metric: value}, {metric: bound of its rounding error}) of generated images, floats.

    settings: see DEFAULTS. Mistake: a wrong setting, another number of generated images than
    settings['images'], or a Mistake of a metric.
    """
    all_settings = chosen_settings(protocol, settings)
    require_count(fake.count, all_settings["images"])
    values, bounds = {}, {}
    for measure in protocol.measures:
        new_values, new_bounds = measure.compute(fake, real, all_settings)
        values |= new_values
        bounds |= new_bounds
    return values, bounds
