"""Whether pictures of digits show what their captions say: the digit, its stroke and its slant.

The demo has this measure in place of GenEval and DPG-Bench, which need photographs. It is not in
the paper. Each value is computed a second time with the captions of other pictures, which shows
what chance gives.
"""

import numpy as np

from gear.files.mistakes import Mistake
from gear.runtime import rng

MEASURED = ("stroke", "slant")
NAMES = tuple(f"{name}{end}" for end in ("", "_shuffled") for name in ("digit", *MEASURED))


def following(wanted, seen):
    """{'digit', 'stroke', 'slant', and each with `_shuffled`}.

    wanted, seen: {'digit', 'stroke', 'slant': (N,)} of N pictures. `wanted` is what the captions
    say: stroke -1 thin, 1 bold, 0 neither; slant -1 left, 1 right, 0 neither. `seen` is measured on
    the pictures: the digit that a classifier reads, the stroke in pixels, the slant in degrees.
    `digit` is the share of pictures that show the wanted digit. The others are Pearson's
    correlations, or None if one side is constant. Mistake: there are fewer than two pictures."""
    count = len(wanted["digit"])
    if count < 2:
        raise Mistake(f"{count} pictures are too few to shuffle their captions; draw two or more.")
    # each picture gets the caption of the next one in an addressed order: never its own
    order = rng.permutation(("following",), count)
    other = np.empty(count, np.int64)
    other[order] = np.roll(order, -1)
    return _values(wanted, seen) | {
        f"{name}_shuffled": value
        for name, value in _values({k: v[other] for k, v in wanted.items()}, seen).items()
    }


def _values(wanted, seen):
    share = float((wanted["digit"] == seen["digit"]).mean())
    return {"digit": share} | {k: _correlation(wanted[k], seen[k]) for k in MEASURED}


def _correlation(one, other):
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one.astype(np.float64), other.astype(np.float64))[0, 1])
