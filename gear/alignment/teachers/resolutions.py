"""Resolutions of teachers that serve only some, as in the published registry of encoders.

This module does not import torch, because Snakemake checks a study's runs with it while parsing.
"""

from gear.files.mistakes import Mistake

SERVED = {"clip_l": (256,), "vjepa2": (256, 512, 1024)}  # pixels; the networks accept more


def check(network, resolution, says, where=""):
    """Mistake: a pretrained teacher does not serve images of `resolution` pixels.

    network: the teacher's name in load.NETWORKS, None for a stand-in; says: its name in the
    message; where: the place in config/ that combines teacher and resolution, if any."""
    served = SERVED.get(network, (resolution,))
    if resolution not in served:
        *most, last = map(str, served)
        listed = f"{', '.join(most)} and {last}" if most else last
        raise Mistake(
            f"{where}{': ' if where else ''}the teacher {says} serves data.resolution {listed} "
            f"alone, not {resolution}; align to dinov2 or dinov3."
        )
