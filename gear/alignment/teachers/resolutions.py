"""Teachers that serve some resolutions alone, as the published registry of encoders has them.

It imports no torch: a study's runs are checked against it while Snakemake parses.
"""

from gear.files.mistakes import Mistake

SERVED = {"clip_l": (256,), "vjepa2": (256, 512, 1024)}  # pixels; the networks take more


def check(network, resolution, says, where=""):
    """Mistake where a pretrained teacher does not serve images of `resolution` pixels.

    network: its name in load.NETWORKS, None for a stand-in; says: its name in the message; where:
    the place in config/ that pairs them, if any."""
    served = SERVED.get(network, (resolution,))
    if resolution not in served:
        *most, last = map(str, served)
        listed = f"{', '.join(most)} and {last}" if most else last
        raise Mistake(
            f"{where}{': ' if where else ''}the teacher {says} serves data.resolution {listed} "
            f"alone, not {resolution}; align to dinov2 or dinov3."
        )
