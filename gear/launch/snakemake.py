"""The `snakemake` command of our environment: Snakemake itself, after one check.

pyproject.toml installs this module as `snakemake`. It puts the environment's folder first on the
PATH, so that the `python` of a rule is the environment's, even if the environment is not activated.

Snakemake imports all its plug-ins at each start, also for a run without a cluster. The import of
its SLURM plug-in fails with a traceback where `sinfo` is on the PATH but `squeue` and `sacct` are
not. This module prints one sentence instead.
"""

import os
import sys
from pathlib import Path


def main():
    folder = Path(sys.executable).parent
    os.environ["PATH"] = os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
    try:
        snakemake = _imported()
    except KeyboardInterrupt:  # Ctrl-C before it has begun
        sys.exit(130)
    sys.exit(snakemake())


def _imported():
    """Snakemake's main function; the import takes seconds."""
    from snakemake_interface_common.exceptions import WorkflowError

    try:
        from snakemake.cli import main as snakemake
    except WorkflowError as error:
        sys.exit(
            f"gear: Snakemake cannot start: {error} Install the rest of SLURM's client programs "
            "(Debian, Ubuntu: apt install slurm-client), or take sinfo off the PATH to run "
            "without a cluster."
        )
    return snakemake
