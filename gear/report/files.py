"""Reading and writing for the report: whole files or none."""

import csv
import io
from pathlib import Path

from gear.files import reading
from gear.files.mistakes import Mistake


def csv_text(columns, rows):
    """CSV with a head line; rows are dicts, a key that a row lacks is empty."""
    handle = io.StringIO()
    writer = csv.DictWriter(handle, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return handle.getvalue()


def read_json(root, path):
    """The JSON file root/path. Mistake where it is missing or no JSON."""
    try:
        return reading.read_json(Path(root) / path, "delete it and re-run its rule")
    except FileNotFoundError:
        raise Mistake(f"{path} is missing below {root}; run the rule that makes it.") from None


def read_csv(root, path):
    """The lines of root/path as dicts of text. Mistake where it is missing or no CSV."""
    try:
        return reading.read_csv(Path(root) / path)
    except FileNotFoundError:
        raise Mistake(f"{path} is missing below {root}; run the rule that makes it.") from None
