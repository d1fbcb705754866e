"""The lines of config/devices.yaml that `gear plan --device` takes, from what `speed` measured."""

import datetime

from benchmarks.gpu_parts.report import row
from gear.study.stages import STAGES


def lines(known):
    """The entry of this device, or None where a stage was not measured."""
    names = (*STAGES, "draw")
    if any(f"{name}_rate" not in known for name in names):
        return None
    rates = ", ".join(f"{name}: {known[f'{name}_rate']:.3g}" for name in names)
    key = known["device"].lower().replace(" ", "-").replace(",", "")
    measured = f"{datetime.date.today()}, torch {known['torch']}, {known['rated_with']}"
    return "\n".join(
        (
            f"{key}:",
            f"  label: {known['device']}",
            f"  measured: '{measured}'",
            f"  tflops:\n    paper: {{{rates}}}",
        )
    )


def rows(context):
    said = lines(context.known)
    if said is None:
        yield row("config/devices.yaml", ok=False, note="speed has not measured every stage")
    else:
        yield row("config/devices.yaml", ok=True, note="\n" + said)
