"""Files that are never half-written: a temporary file is written, then renamed."""

import errno
import json
import math
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path

from gear.files.mistakes import Mistake

UMASK = os.umask(0)  # the only way to read the umask is to set it
os.umask(UMASK)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk full, quota reached, file too large


class NoRoom(Mistake):
    """The disk is full, so a file was not written.

    An older file with the same name is intact."""


def _says_full(error):
    """Whether an error, or an error that caused it, says that the disk is full.

    torch and safetensors raise errors of their own types; only their text has the number."""
    while error is not None:
        if getattr(error, "errno", None) in FULL:
            return True
        if any(f"(os error {number})" in str(error) for number in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def final(path):
    """The path that a file will have, of its path in a temporary folder."""
    parts = (re.sub(r"^\.(.*?)\.?\d+\.part$", r"\1", part) for part in Path(path).parts)
    return Path(*filter(None, parts))


def no_room(path):
    """The error for a path that a full disk has no room for."""
    return NoRoom(
        f"there is no room for {final(path)}; free some and run again, nothing that was there is "
        "lost."
    )


@contextmanager
def room_for(path=None):
    """Turns an error that says that the disk is full into NoRoom, which names `path`.

    None: the file that the error names."""
    try:
        yield
    except Exception as error:
        if isinstance(error, Mistake) or not _says_full(error):
            raise
        raise no_room(path or getattr(error, "filename", None) or "this job's files") from None


def _unwritable(path, error):
    """The error for a file that cannot be made; its own text would name the temporary file."""
    if error.errno in FULL:
        return no_room(path)
    return Mistake(f"{final(path)} cannot be written ({error.strerror}); name another file.")


@contextmanager
def aside(path):
    """Yields a temporary path in the folder of `path`.

    When the block ends without an error, the temporary file is renamed to `path`.
    NoRoom: the file system is full."""
    path = Path(path)
    if not path.name:
        raise Mistake(f"'{path}' names no file to write; name one.")
    if path.is_dir():
        raise Mistake(f"{path} is a folder; name a file to write.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with room_for(path):
            yield temporary
            if temporary.is_file():
                temporary.chmod(0o666 & ~UMASK)  # safetensors' files are of one user alone
            os.replace(temporary, path)
    except OSError as error:
        if str(error.filename) == str(temporary):
            raise _unwritable(path, error) from None
        raise
    finally:
        with suppress(OSError):  # it is not there, or its name was too long to be made
            temporary.unlink()


def write(path, content):
    """Write text (as UTF-8) or bytes to `path`, through a temporary file."""
    with aside(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path, data):
    """Write `data` as JSON with sorted keys, through a temporary file.

    Mistake: a number is NaN or infinite, which JSON cannot say."""
    try:
        text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise Mistake(
            f"{path} is not written, because {not_finite(data)} is not a finite number; look at "
            "what it was computed from."
        ) from None
    write(path, text + "\n")


def not_finite(data, name=""):
    """The dotted name of the first number that is NaN or infinite, or None."""
    if isinstance(data, float) and not math.isfinite(data):
        return name
    if isinstance(data, dict | list | tuple):
        items = data.items() if isinstance(data, dict) else enumerate(data)
        found = (not_finite(value, f"{name}.{key}" if name else str(key)) for key, value in items)
        return next(filter(None, found), None)
    return None


def line(data):
    """`data` as one line of JSON. A number that is NaN or infinite becomes null."""
    return json.dumps(_with_null(data), allow_nan=False)


def _with_null(data):
    if isinstance(data, dict):
        return {key: _with_null(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_with_null(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
