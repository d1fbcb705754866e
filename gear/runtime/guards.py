"""What is watched while a run trains: numbers that are not finite, and two slow failures.

A collapse and a discriminator that has won only warn, once each, and name the setting to try: the
naive end-to-end run must be able to finish.
"""

import math

from gear.runtime.progress import say

COLLAPSED = 0.2  # share of the codes in use below which a codebook counts as collapsed
WON = 0.1  # hinge loss of the discriminator, 1 where it says nothing, 0 where it is never wrong

WARNINGS = {
    "usage": (
        COLLAPSED,
        "codebook usage {value:.3f} at step {step}: a higher loss.entropy or a lower "
        "optim.lr_tokenizer may help",
    ),
    "disc": (
        WON,
        "the discriminator's loss is {value:.3f} at step {step}, it tells nearly every "
        "reconstruction: a lower optim.lr_discriminator may help",
    ),
}


def not_finite(means):
    """Names of the metrics that are NaN or infinite."""
    return [name for name, value in means.items() if not math.isfinite(value)]


class Guards:
    """The warnings of one run. `seen`: {metric: the step at which it first fell too low}."""

    def __init__(self):
        self.seen = {}

    def watch(self, step, means):
        """Look at the means of the window that ends at `step`."""
        for name, (least, text) in WARNINGS.items():
            value = means.get(name)
            if value is not None and value < least and name not in self.seen:
                self.seen[name] = step
                say("warning: " + text.format(value=value, step=step))

    @property
    def collapsed_at(self):
        """The step at which the codebook was first seen collapsed, or None."""
        return self.seen.get("usage")
