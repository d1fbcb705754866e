"""Readers of files that a user may have damaged, or that were never what their name says.

Every reader of gear/ begins with `require_file`, so that no pipe, device or folder is opened. It
returns what its docstring says, or raises a Mistake that names the file and the cure.
"""

import csv
import json
import os
import re
import stat
from pathlib import Path

from gear.files.mistakes import Mistake

MERGE = re.compile(r"^(<<<<<<< |>>>>>>> )", re.MULTILINE)  # git's marks of two versions
MISSING = "make it with Snakemake or pull it"
REMAKE = "remove it and run again"


def reason_of(error):
    """The message of a library's error in one line, without its last full stop."""
    text = " ".join(str(error).split()).rstrip(".")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":  # a KeyError's
        text = text[1:-1]
    return text if len(text) <= 200 else f"{text[:200]}..."


def require_file(path, cure="make or download it again"):
    """The bytes of a regular file. Mistake: it is none; a pipe would be read without end.

    cure: the end of the message."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise Mistake(f"{path} is missing; {cure}.") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise Mistake(
            f"{path} cannot be read ({getattr(error, 'strerror', error)}); {cure}."
        ) from None
    if stat.S_ISDIR(status.st_mode):
        raise Mistake(f"{path} is a folder and no file; {cure}.")
    if not stat.S_ISREG(status.st_mode):
        raise Mistake(f"{path} is a pipe or a device and no file; {cure}.")
    if not os.access(path, os.R_OK):  # some libraries say that such a file is missing
        raise Mistake(f"{path} cannot be read (Permission denied); see that you may read it.")
    return status.st_size


def read_bytes(path, cure="make or download it again"):
    """The content of a regular file. Mistake: it is none, or cannot be read."""
    require_file(path, cure)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Mistake(f"{path} cannot be read ({error.strerror}); {cure}.") from None


def read_text(path, cure="put the file there"):
    """The text of a file. Mistake: not UTF-8, or git left the marks of a merge in it.

    cure: for a file that is missing or cannot be read."""
    try:
        text = read_bytes(path, cure).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Mistake(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from None
    mark = MERGE.search(text)
    if mark:
        line = text.count("\n", 0, mark.start()) + 1
        raise Mistake(f"{path} holds two versions of a git merge, line {line}; keep one of them.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path, cure=REMAKE, missing=MISSING):
    """The content of a JSON file. Mistake: not JSON, or not UTF-8.

    cure: the end of the message; missing: that for a file that is not there."""
    text = read_text(path, missing)
    try:
        return json.loads(text)
    except RecursionError:
        raise Mistake(f"{path} is no JSON of ours, it nests too deep; {cure}.") from None
    except ValueError as error:  # json.JSONDecodeError, or an integer of thousands of digits
        raise Mistake(f"{path} is no JSON ({reason_of(error)}); {cure}.") from None


def read_record(path, cure=REMAKE, missing=MISSING):
    """The content of a JSON file that is a mapping, such as run.json. Mistake: as of read_json."""
    content = read_json(path, cure, missing)
    if not isinstance(content, dict):
        raise Mistake(f"{path} is {named(content)} and no mapping; {cure}.")
    return content


def required(record, name, kind, path, cure=REMAKE):
    """The value of a key of a mapping that was read from `path`.

    Mistake: the key is missing, or its value is not of the type `kind`."""
    value = record.get(name)
    wrong = isinstance(value, bool) and kind is not bool
    if name not in record or wrong or not isinstance(value, kind):
        fault = f"'{name}' is {named(value)}" if name in record else f"there is no '{name}'"
        raise Mistake(f"{path} is damaged or of another kind: {fault}; {cure}.")
    return value


def whole_numbers(record, name, keys, path, cure=REMAKE):
    """{key: whole number from 1 to 65536} of a mapping in a record. Mistake: as of `required`."""
    values = required(record, name, dict, path, cure)
    for key in keys:
        if not 1 <= required(values, key, int, f"{path}, {name}", cure) <= 65536:
            raise Mistake(f"{path}, {name}: '{key}' is {named(values[key])}; {cure}.")
    return {key: values[key] for key in keys}


def status_of(folder):
    """The `status` in a checkpoint's run.json. Mistake: there is none."""
    path = f"{folder}/run.json"
    return required(read_record(path), "status", str, path)


def named(value):
    """What a value of JSON or YAML is, in a sentence: 'a list', 'the number 5'."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, bool) or value is None:
        return {True: "'true'", False: "'false'", None: "'null'"}[value]
    return f"the number {value!r:.40}" if isinstance(value, int | float) else "another value"


def read_csv(path, columns=(), cure="correct it", missing=MISSING):
    """(names of the columns, [{column: text}]) of a CSV file with a head line.

    columns: that it must have. Mistake: no CSV, a column is missing or is there twice, or a line
    has another number of cells than the head."""
    text = read_text(path, missing)
    try:
        lines = [line for line in csv.reader(text.splitlines(keepends=True), strict=True) if line]
    except csv.Error as error:
        raise Mistake(f"{path} is no CSV ({error}); {cure}.") from None
    if not lines:
        raise Mistake(f"{path} is empty and no CSV; {cure}.")
    head, rows = lines[0], lines[1:]
    lacking = [name for name in columns if name not in head]
    if lacking:
        raise Mistake(f"{path} has no column '{lacking[0]}'; {cure}.")
    if len(set(head)) < len(head):
        twice = next(name for name in head if head.count(name) > 1)
        raise Mistake(f"{path} has the column '{twice}' twice; {cure}.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise Mistake(
                f"{path}, row {number}, has {len(row)} cells and its head {len(head)}; {cure}."
            )
    return head, [dict(zip(head, row, strict=True)) for row in rows]
