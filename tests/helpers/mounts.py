"""Small file systems of their own, that can be full or read-only for root too."""

import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A mounted tmpfs. folder: where it is."""

    def __init__(self, folder):
        self.folder = folder

    def remount(self, *options):
        """Change its options, such as 'ro', 'rw' or 'size=2m'."""
        words = ("mount", "-o", ",".join(("remount", *options)), self.folder)
        subprocess.run(words, check=True)

    def fill(self):
        """Write one file until there is no room; returns it."""
        path = self.folder / "filling"
        with open(path, "ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass
        return path


@contextmanager
def disk(size):
    """Yields a Disk of the size, such as '1m'. The test is skipped where mounting is refused."""
    if os.geteuid():
        pytest.skip("only root can mount a file system")
    folder = Path(tempfile.mkdtemp(prefix="gear-disk-", dir="/mnt"))  # pytest keeps its folders
    try:
        options = f"size={size}"
        words = ("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder)
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here ({done.stderr.strip()})")
        try:
            yield Disk(folder)
        finally:
            # lazily, because a test that failed may have left its working directory there
            subprocess.run(("umount", "--lazy", folder), check=True)
    finally:
        folder.rmdir()
