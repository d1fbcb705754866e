"""Pictures of some prompts beside their text, as each checkpoint's evaluation draws them."""

from gear.files.mistakes import Mistake
from gear.study.models.shown import Rows as Entry
from gear.study.specs.figure import rows

__all__ = ["Entry", "spec"]


def spec(study, entry, where):
    shown = rows(study, entry, where, "pictures")
    for run in shown.runs:
        if not study.runs[run].settings.reads_text:
            raise Mistake(f"{where}: '{run}' reads classes, not captions; name a t2i run.")
    return shown
