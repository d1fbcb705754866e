"""Checks while a run trains: non-finite metrics, codebook collapse, too strong discriminator.

A collapse and a too strong discriminator give only one warning each, which names the setting to
change. They do not stop the run, because the naive end-to-end run collapses and must finish. A run
with `runtime.on_nonfinite: record` gets no warning: its failure is what is studied.
"""

import math

from gear.runtime.progress import say

COLLAPSED = 0.2  # share of the codes in use below which a codebook counts as collapsed
WON = 0.1  # hinge loss of the discriminator: 1 if its output is always 0, 0 if it is always right

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
    """The warnings of one run. `seen`: {metric: first step with a too low value}.

    quiet: no warning is printed, because the run is there to show its collapse."""

    def __init__(self, name="", quiet=False):
        self.name, self.quiet, self.seen = name, quiet, {}

    def watch(self, step, means):
        """Check the means of the window that ends at `step`; warn once per metric."""
        for name, (least, text) in WARNINGS.items():
            value = means.get(name)
            if value is not None and value < least and name not in self.seen:
                self.seen[name] = step
                if not self.quiet:
                    where = f"{self.name}: " if self.name else ""
                    say(f"warning: {where}{text.format(value=value, step=step)}")

    @property
    def collapsed_at(self):
        """The first step with a collapsed codebook, or None."""
        return self.seen.get("usage")
