"""The files that a command will write, looked at before its work."""

import os
from contextlib import contextmanager, suppress
from pathlib import Path

from gear.files.mistakes import Mistake


def require_free(paths, force=False, inputs=()):
    """Mistake: a command could not write one of its files, or would overwrite a user's.

    paths: {parameter, or '': path or None}; force: files that are there may be replaced, but never
    one of the inputs."""
    names, read = {}, {os.path.realpath(path): path for path in inputs}
    for name, path in paths.items():
        if path is None:
            continue
        label, real = f"`{name}` {path}" if name else str(path), os.path.realpath(path)
        if real in names:
            raise Mistake(f"`{name}` and `{names[real]}` are both {path}; name two files.")
        if real in read:
            raise Mistake(f"{label} is also {read[real]}, which is read; name another file.")
        if os.path.isdir(path):
            raise Mistake(f"{label} is a folder; name a file.")
        if os.path.lexists(path):
            if not os.path.isfile(path):
                raise Mistake(f"{label} is no ordinary file; name another.")
            if not force:
                raise Mistake(
                    f"{label} is there already; name another file, remove it, or add `force`."
                )
        names[real] = name
        require_writable(path, label)


@contextmanager
def all_or_none(paths):
    """If the block fails, files of it that were not there before are removed.

    The same command can then be run again. paths: of files, or None."""
    fresh = [path for path in filter(None, paths) if not os.path.lexists(path)]
    try:
        yield
    except BaseException:
        for path in fresh:
            Path(path).unlink(missing_ok=True)
        raise


def require_writable(path, label):
    """Mistake: no file can be written at a path. Nothing is left there.

    label: what the message calls it."""
    path = Path(path)
    absent = [folder for folder in path.parents if not os.path.lexists(folder)]
    probe = path.with_name(f".{path.name}.{os.getpid()}.part")  # as gear.files.aside writes it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Mistake(f"{label} cannot be written ({error.strerror}); name another path.") from None
    finally:
        for folder in absent:
            with suppress(OSError):
                folder.rmdir()


def require_writable_folder(root):
    """Mistake: nothing can be written in a folder of results, or in one below it.

    Snakemake would find it out with a traceback, after hours of other jobs perhaps."""
    require_writable(Path(root) / "README.md", root)
    for folder, _, _ in os.walk(root):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Mistake(
                f"{folder} cannot be written; see that you may write there, or name other results: "
                "--config results=FOLDER."
            )
