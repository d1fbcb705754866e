"""Hashes of files and of Python code."""

import ast
import hashlib
import os
from functools import cache
from pathlib import Path

from gear.files.reading import MISSING, require_file


def sha256(path):
    """Hex digest of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_once(path):
    """As `sha256`, but a process reads a file only once, as long as nobody writes it.

    Mistake: there is no such file."""
    require_file(path, MISSING)
    found = os.stat(path)
    return _known(os.path.realpath(path), found.st_ino, found.st_mtime_ns, found.st_size)


@cache
def _known(path, *_):
    return sha256(path)


ROOT = Path(__file__).resolve().parents[2]


def code_hash(patterns, root=ROOT):
    """12 hex digits: a hash of the Python code of matching files.

    Comments, docstrings, formatting and error messages are left out: they change no result.
    The hash is the same for every supported version of Python."""
    return _of_files(patterns, root, lambda path: _code(path.read_text("utf-8")).encode())


def text_hash(patterns, root=ROOT):
    """12 hex digits: a hash of all bytes of matching files, which takes far less time."""
    return _of_files(patterns, root, Path.read_bytes)


def _of_files(patterns, root, content):
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in root.glob(pattern)}):
        digest.update(f"{path.relative_to(root)}\0".encode() + content(path) + b"\0")
    return digest.hexdigest()[:12]


@cache
def _code(text):
    """A module's syntax tree as text.

    The text of `ast.dump` differs between versions of Python. Empty fields are left out here,
    because newer versions have more of them."""

    def shape(node):
        if isinstance(node, list):
            return f"[{','.join(map(shape, node))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.Constant):  # its value may be None, which is no empty field
            return f"Constant({node.value!r})"
        if isinstance(node, ast.Raise):  # the message is for people
            return "Raise()"
        texts = []
        for name in node._fields:
            value = _counted(node, getattr(node, name, None))
            if value is not None and value != []:
                texts.append(f"{name}={shape(value)}")
        return f"{type(node).__name__}({','.join(texts)})"

    return shape(ast.parse(text))


def _counted(node, field):
    """The part of a node's field that is hashed: a body without its docstring."""
    if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty texts to some f-strings
        return [part for part in field if getattr(part, "value", None) != ""]
    if isinstance(node, DOCUMENTED) and field is node.body and ast.get_docstring(node, False):
        return field[1:]
    return field


DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
