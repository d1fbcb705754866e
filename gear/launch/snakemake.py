"""The `snakemake` command of our environment: Snakemake itself, behind one check.

A rule's `python` is the environment's, also where the environment is not activated.

Snakemake imports all its plug-ins at each start, also for a run without a cluster. Its SLURM
plug-in cannot be imported where `sinfo` is on the PATH but neither `squeue` nor `sacct` is, and
Snakemake then ends with a traceback. pyproject.toml installs this module as `snakemake`, so that
such a machine gets one sentence.
"""

import os
import sys
from pathlib import Path


def main():
    folder = Path(sys.executable).parent
    os.environ["PATH"] = os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
    from snakemake_interface_common.exceptions import WorkflowError

    try:
        from snakemake.cli import main as snakemake
    except WorkflowError as error:
        sys.exit(
            f"gear: Snakemake cannot start: {error} Install the rest of SLURM's client programs "
            "(Debian, Ubuntu: apt install slurm-client), or take sinfo off the PATH to run "
            "without a cluster."
        )
    sys.exit(snakemake())
