"""Snakemake in a fork of a process that has imported it: the import is most of a dry run.

The fork has the folder, environment and arguments of the caller, and imports `gear` itself."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


class Forks:
    """The process that forks, seen from a test. It ends with its parent."""

    process = None

    def snakemake(self, arguments, folder, environment):
        """(exit status, stdout, stderr) of `snakemake ARGUMENT ...` in a folder."""
        if self.process is None:
            command, pipe = [sys.executable, __file__], subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        with tempfile.TemporaryDirectory() as streams:
            request = {"arguments": arguments, "folder": str(folder), "streams": streams}
            print(json.dumps(request | {"environment": environment}), file=self.process.stdin)
            self.process.stdin.flush()
            status = int(self.process.stdout.readline())
            return status, *(Path(streams, name).read_text() for name in ("1", "2"))


def become(arguments, folder, streams, environment):
    """Make this fork what a new process would be."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [path for path in paths if path]  # the first was the folder of this file
    sys.argv = ["snakemake", *arguments]
    for number in (0, 1, 2):
        name = os.path.join(streams, str(number)) if number else os.devnull
        new = os.open(name, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY)
        os.dup2(new, number)
        os.close(new)


def serve():
    import snakemake.cli  # noqa: F401

    assert "gear" not in sys.modules
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            become(**json.loads(line))
            from gear.launch.snakemake import main

            main()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
