"""Readers of the files of a study's results. A Mistake names a missing or damaged file."""

import contextlib
import csv
import io
from pathlib import Path
from zipfile import BadZipFile

from gear.files import reading
from gear.files.mistakes import Mistake
from gear.study.vocabulary import plain


class Results:
    """The files below the root of a study's results. Paths are relative to the root."""

    def __init__(self, root):
        self.root, self._json = Path(root), {}

    @contextlib.contextmanager
    def _there(self, path):
        """Turns the FileNotFoundError of a read into a Mistake that names the path."""
        try:
            yield self.root / path
        except FileNotFoundError:
            raise Mistake(
                f"{path} is missing below {self.root}; run the rule that makes it."
            ) from None

    def json(self, path):
        if path not in self._json:
            with self._there(path) as file:
                self._json[path] = reading.read_json(file, "delete it and re-run its rule")
        return self._json[path]

    def value(self, path, group, key):
        """The value of a key in a group of a JSON file {group: {key: value}}; None: run diverged.

        Mistake: the file is missing or damaged, or has no such group or key."""
        groups, cure = self.json(path), "delete it and score that checkpoint again"
        if group not in groups:
            names = ", ".join(sorted(groups)) or "nothing"
            raise Mistake(f"{path} holds {names}, not '{group}'; {cure}.")
        if groups[group] is None:
            return None
        if key not in groups[group]:
            raise Mistake(f"{path} has no '{key}' under '{group}'; {cure}.")
        return groups[group][key]

    def csv(self, path):
        """A CSV file as a data frame of text; an empty cell is ''.

        Mistake: the file is missing or is no CSV."""
        import pandas

        file = self.root / path
        try:
            with self._there(path):
                return pandas.read_csv(file, dtype=str, keep_default_na=False)
        except Mistake:
            raise
        except ValueError as error:  # a ParserError or UnicodeDecodeError
            raise Mistake(f"{file} is no CSV in UTF-8 ({error}); make it again.") from None

    def arrays(self, path, *names):
        """The named arrays of an .npz file. Mistake: file or array is missing, or damaged."""
        import numpy

        cure = "delete it and draw that checkpoint again"
        try:
            with self._there(path) as file, numpy.load(file) as archive:
                missing = [name for name in names if name not in archive]
                if missing:
                    raise Mistake(f"{path} has no array '{missing[0]}'; {cure}.")
                return [archive[name] for name in names]
        except Mistake:
            raise
        except (ValueError, OSError, EOFError, BadZipFile) as error:
            raise Mistake(f"{path} is no complete .npz file ({error}); {cure}.") from None


def csv_text(columns, rows):
    """The text of a CSV file with a head line; rows: dicts.

    Floats have 6 significant digits. A cell is empty where the value is None or the key missing."""
    handle = io.StringIO()
    writer = csv.DictWriter(handle, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: plain(v) if isinstance(v, float) else v for k, v in row.items()})
    return handle.getvalue()
