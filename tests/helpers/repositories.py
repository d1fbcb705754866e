"""A working copy under git in which a test makes results, saves them and takes them up."""

import shutil
import subprocess
from pathlib import Path

from checkout import ROOT, Checkout

MINI = Path(__file__).with_name("mini.smk")
RULES = ("--rerun-triggers", "params", "input", "mtime", "software-env")


class Repository(Checkout):
    """A working copy under git, with the smoke study or the mini one."""

    def git(self, *arguments):
        name = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        status, text = self.run("git", *name, *arguments)
        assert status == 0, text
        return text

    def artifacts(self, *arguments, fails=False):
        """What `gear artifacts` prints."""
        status, text = self.run("gear", "artifacts", *arguments)
        assert (status != 0) == fails, text
        assert "Traceback" not in text, text
        return text

    def refused(self, *arguments):
        """The one sentence with which it refuses."""
        lines = self.artifacts(*arguments, fails=True).strip().splitlines()
        assert lines[-1].startswith(("gear: ", "gear artifacts "))
        assert not any("gear: " in line for line in lines[:-1])
        return lines[-1]

    def mini(self, *arguments):
        """What Snakemake prints for the mini study."""
        options = ("--snakefile", str(MINI), *RULES, "--cores", "1")
        status, text = self.forked(*options, *arguments)
        assert status == 0, text
        return text

    def clone(self, folder, remote=None):
        self.git("clone", "--quiet", ".", str(folder))
        fresh = Repository(folder)
        if remote:
            fresh.artifacts("remote", str(remote))
        return fresh

    def cached(self, file):
        """The cache object of the first file that a .dvc file keeps."""
        text = (self.folder / file).read_text()
        md5 = next(line.split()[-1] for line in text.splitlines() if " md5:" in line)
        return self.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def repository(folder):
    """The project's files, committed, without its results."""
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        source, target = ROOT / name, folder / name
        if not name.startswith(("results/", "data.")) and source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    made = Repository(folder)
    made.git("init", "--quiet")
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message", "code")
    return made
