"""Models of the files of config/: which keys each has, of which type and in which range.

Only what a file says by itself is checked here. Names that another file must have, such as a run of
a table, are looked up by the registry. The settings of runs have their ranges in gear/config.py.
Defaults serve the types alone: the program goes on with what the file says.
"""

from gear.study.models.base import text
from gear.study.models.shown import AnyFigure, Claims, Tables
from gear.study.models.study import Device, Runs, Study

KINDS = {
    "studies": Study,
    "runs": Runs,
    "tables": Tables,
    "figures": dict[text("name of a table or figure"), AnyFigure],
    "claims": Claims,
    "devices": dict[str, Device],
}
