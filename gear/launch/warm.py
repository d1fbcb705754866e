"""Start a job's module, if possible as a fork of a warm process.

A process needs several seconds to import torch and make its first optimizer. For the hundreds of
small jobs of a local study that would be most of the work. A study with `together: true` therefore
keeps one process that has imported torch, and forks it for each job. The Snakefile starts and ends
that process. Where GEAR_WARM is not set or the process does not answer, the module runs here.

python -m gear.launch.warm MODULE [ARGUMENT ...]
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback

from gear.files.aside import room_for
from gear.files.mistakes import Mistake

LONGEST = 80  # bytes of a folder in which a socket's path of at most 107 bytes fits


class Warm:
    """The warm process, seen from its parent. It ends when its parent ends."""

    process = None

    def start(self, modules=()):
        """Start the process, unless the caller has one already; returns the path of its socket.

        modules: names of further modules that the study's jobs import.

        Jobs find it by the variable GEAR_WARM, once it has imported torch. Its numerical libraries
        use one thread, as in a separate job, to give the same bytes."""
        if os.environ.get("GEAR_WARM"):
            return os.environ["GEAR_WARM"]
        above = tempfile.gettempdir()
        above = above if len(os.fsencode(above)) <= LONGEST else "/tmp"
        self.folder = tempfile.TemporaryDirectory(prefix="gear-", dir=above)
        os.environ["GEAR_WARM"] = f"{self.folder.name}/socket"
        command = [sys.executable, "-m", "gear.launch.warm", "--serve", os.environ["GEAR_WARM"]]
        command += modules
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | one)
        return os.environ["GEAR_WARM"]

    def stop(self):
        """End the process, if it was started."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.folder.cleanup()


def connect(path):
    """A connection to the warm process, or None."""
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(path)
    except OSError:
        return None
    return link


def delegate(link, arguments):
    """The exit status of a module that the warm process runs with our standard streams."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    forwarded = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, forwarded)  # until the job's process id is known
    request = json.dumps({"arguments": arguments, "folder": os.getcwd()}).encode()
    socket.send_fds(link, [len(request).to_bytes(4, "big")], [0, 1, 2])
    link.sendall(request)
    answers = link.makefile()
    pid = int(answers.readline() or 0)
    for number in forwarded:
        signal.signal(number, lambda n, _: os.kill(pid, n))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
    status = answers.readline()
    if not status:
        print("the job's process was killed", file=sys.stderr)
        return 1
    return int(status)


def run(arguments):
    """Call MODULE's main() in this process. A user's mistake ends it with one sentence."""
    sys.argv = arguments
    try:
        with room_for():
            importlib.import_module(arguments[0]).main()
    except Mistake as error:
        raise SystemExit(f"{arguments[0]}: {error}") from None
    except KeyboardInterrupt:  # as a shell says it
        raise SystemExit(130) from None


def status_of(function, *arguments):
    """The exit status that a process calling `function` would have."""
    try:
        function(*arguments)
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            print(exit_.code, file=sys.stderr)
            return 1
        return exit_.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve_one(link):
    """In a fork: take over the client's streams, run its module, send the exit status."""
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    size, streams, _, _ = socket.recv_fds(link, 4, 3)
    request = b""
    while len(request) < int.from_bytes(size, "big"):
        request += link.recv(65536)
    request = json.loads(request)
    for target, source in enumerate(streams):
        os.dup2(source, target)
        os.close(source)
    os.chdir(request["folder"])
    link.sendall(f"{os.getpid()}\n".encode())

    def follow():  # end the job when its client has ended, even before it read our process id
        with contextlib.suppress(ConnectionResetError):
            link.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()
    status = status_of(run, request["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    link.sendall(f"{status}\n".encode())


def serve(path, *modules):
    """The warm process: one fork for each connection, until standard input closes.

    modules: names of further modules to import."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the jobs and for Snakemake
    import torch

    import gear.analysis.similarity  # modules of the jobs
    import gear.evaluation.checkpoint
    import gear.report.figures.figure
    import gear.report.tables.table  # noqa: F401

    for name in modules:
        importlib.import_module(name)
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], fused=True)  # imports the compiler
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks are reaped by the kernel
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)

    def watch():  # standard input closes when Snakemake has ended
        sys.stdin.buffer.read()
        os.unlink(path)
        with contextlib.suppress(OSError):  # a Snakemake that was killed cannot remove it
            os.rmdir(os.path.dirname(path))
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    while True:
        link, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            serve_one(link)
            os._exit(0)
        link.close()


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--serve"]:
        serve(*arguments[1:])
    path = os.environ.get("GEAR_WARM")
    link = connect(path) if path else None
    if link is not None:
        raise SystemExit(delegate(link, arguments))
    run(arguments)


if __name__ == "__main__":
    main()
