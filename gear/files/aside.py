"""Files that are never half-written: they are written aside, then renamed."""

import errno
import json
import os
from contextlib import contextmanager
from pathlib import Path

from gear.files.mistakes import Mistake

UMASK = os.umask(0)  # reading it is setting it
os.umask(UMASK)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class NoRoom(Mistake):
    """A file could not be written whole, for want of room; what stood under its name is whole."""


def _says_full(error):
    """Whether an error, or what caused it, is the file system's refusal of more bytes; torch and
    safetensors raise their own."""
    while error is not None:
        if getattr(error, "errno", None) in FULL:
            return True
        if any(f"(os error {number})" in str(error) for number in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def aside(path):
    """Yields a temporary path beside `path`, which takes its name when the block ends well.

    NoRoom: the file system is full."""
    path = Path(path)
    if not path.name:
        raise Mistake(f"'{path}' names no file to write; name one.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        if temporary.is_file():
            temporary.chmod(0o666 & ~UMASK)  # safetensors makes files that others cannot read
        os.replace(temporary, path)
    except Exception as error:
        if not _says_full(error):
            raise
        raise NoRoom(
            f"there is no room for {path}; free some and run again, nothing that was there is lost."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def write(path, content):
    """Text, as UTF-8, or bytes."""
    with aside(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path, data):
    write(path, json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path):
    """The JSON file's content. Mistake where it is missing or half-written."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Mistake(f"{path} is missing; make it with Snakemake or pull it.") from None
    except ValueError:  # json.JSONDecodeError, or UnicodeDecodeError of damaged bytes
        raise Mistake(
            f"{path} is no complete JSON file; remove it and run again to make it anew."
        ) from None
