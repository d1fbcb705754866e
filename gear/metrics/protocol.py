"""The generation metrics of one protocol, composed from features.

A protocol (adm, demo, ...) is a feature network, a reference set and the settings given here; the
formulas are the same for all. Legend: N images, D pooled and S spatial dimensions, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gear.metrics.frechet import Statistics, frechet_distance
from gear.metrics.inception_score import inception_score
from gear.metrics.prdc import prdc

DEFAULTS = {
    "images": None,  # exact number of generated images, None: any
    "neighbours": 3,  # k of precision and recall
    "prdc_images": None,  # precision and recall use the first so many of each side, None: all
    "split_size": None,  # images per part of the inception score, None: one part
}


@dataclass(frozen=True)
class Features:
    """What the feature network says about N images, one row per image, float32."""

    pooled_ND: np.ndarray
    spatial_NS: np.ndarray
    probs_NC: np.ndarray

    def __post_init__(self):
        shapes = [x.shape for x in (self.pooled_ND, self.spatial_NS, self.probs_NC)]
        if any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
            raise ValueError(
                "pooled, spatial and probs have shapes {}, {} and {}; give three matrices with one "
                "row per image each.".format(*shapes)
            )

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.pooled_ND)


def generation_metrics(
    fake: Features,
    real: Features,
    settings: Mapping,
    moments: tuple[Statistics, Statistics] | None = None,
) -> dict[str, float]:
    """{'gfid', 'sfid', 'is', 'precision', 'recall'} of generated images, plain floats.

    settings: see DEFAULTS. moments: (pooled, spatial) statistics of the reference where they are
    not those of `real`: ADM compares means and covariances with the whole training set, but
    precision and recall with the reference batch. `real` gives both where moments are absent.
    ValueError: unknown setting, another number of generated images than settings['images'], and
    what the metrics themselves refuse.
    """
    unknown = sorted(set(settings) - set(DEFAULTS))
    if unknown:
        raise ValueError(
            f"unknown metric setting {', '.join(map(repr, unknown))}; known are "
            f"{', '.join(DEFAULTS)}."
        )
    chosen = {**DEFAULTS, **settings}
    if chosen["images"] is not None and fake.count != chosen["images"]:
        raise ValueError(
            f"found {fake.count} generated images, the protocol needs exactly {chosen['images']}; "
            f"draw {chosen['images']} images, or set images: {fake.count} in the protocol."
        )
    if chosen["prdc_images"] is not None and chosen["prdc_images"] < 1:
        raise ValueError(
            f"prdc_images is {chosen['prdc_images']}; set at least 1, or null to use all images."
        )
    if moments is None:
        moments = Statistics.of(real.pooled_ND), Statistics.of(real.spatial_NS)
    first = slice(chosen["prdc_images"])
    manifold = prdc(real.pooled_ND[first], fake.pooled_ND[first], k=chosen["neighbours"])
    return {
        "gfid": frechet_distance(Statistics.of(fake.pooled_ND), moments[0]),
        "sfid": frechet_distance(Statistics.of(fake.spatial_NS), moments[1]),
        "is": inception_score(fake.probs_NC, split_size=chosen["split_size"]),
        "precision": manifold["precision"],
        "recall": manifold["recall"],
    }
