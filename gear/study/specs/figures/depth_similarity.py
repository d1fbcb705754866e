"""How alike the features of the AR's layers and the teacher's are, a line for each checkpoint."""

from gear.files.mistakes import Mistake
from gear.study.models.shown import Rows as Entry
from gear.study.specs.figure import Shown, row_of
from gear.study.stages import STAGES

__all__ = ["Entry", "spec"]


def spec(study, entry, where):
    rows = []
    for label, reference in entry["rows"].items():
        checkpoint = study.at(reference, where)
        if not STAGES[checkpoint.stage].has_ar:
            raise Mistake(f"{where}: '{checkpoint.run}' has no AR layers; name a joint or ar run.")
        align = study.runs[checkpoint.run].settings.align
        row = row_of(study, label, checkpoint, "analysis")
        rows.append(row | {"aligned": align.layer, "teacher": align.teacher})
    return Shown({"rows": rows}, [row["run"] for row in rows], frozenset({"states"}))
