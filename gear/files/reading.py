"""Readers of text files that may be damaged. Each Mistake names the file."""

import csv
import json
from pathlib import Path

from gear.files.mistakes import Mistake


def read_text(path):
    """The text of a file. Mistake: the file is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Mistake(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from None


def read_json(path, cure="make or download it again"):
    """The content of a JSON file. Mistake: not JSON, or not UTF-8.

    cure: the end of the message."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # json.JSONDecodeError or UnicodeDecodeError
        raise Mistake(f"{path} is no JSON ({error}); {cure}.") from None


def read_csv(path):
    """[{column: text}] of a CSV file. Mistake: not UTF-8, or no CSV."""
    with open(path, encoding="utf-8", newline="") as handle:
        try:
            return list(csv.DictReader(handle))
        except (UnicodeDecodeError, csv.Error) as error:
            raise Mistake(f"{path} is no CSV in UTF-8 ({error}); correct it.") from None
