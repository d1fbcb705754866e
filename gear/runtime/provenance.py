"""The part of run.json that says where a result comes from."""

import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _git(*arguments):
    process = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return process.stdout.strip() if process.returncode == 0 else ""


def environment():
    """Commit, library versions, device, host and time of this process.

    dirty: the code differs from the commit."""
    import torch

    versions = {}
    for name in ("torch", "numpy", "safetensors"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("diff", "--name-only", "HEAD", "--", ".", ":(exclude)results")),
        "python": platform.python_version(),
        "versions": versions,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "host": platform.node(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
