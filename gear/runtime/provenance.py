"""What stands in run.json beside the weights: where a result comes from."""

import hashlib
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path


def sha256(path):
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


ROOT = Path(__file__).resolve().parent.parent.parent


def code_hash(*patterns):
    """12 hex digits of the contents of the files that match, so that an edit re-runs a rule."""
    digest = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def environment():
    """Commit (dirty: of code that differs from it), library versions, device and host."""
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
