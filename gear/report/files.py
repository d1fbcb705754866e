"""The files of a study's results: each read once, the Mistake names what is missing or damaged."""

import contextlib
import csv
import io
from pathlib import Path
from zipfile import BadZipFile

from gear.files import reading
from gear.files.mistakes import Mistake
from gear.study.vocabulary import plain


class Results:
    """What lies below the root of a study's results. Paths are relative to the root."""

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
        """{group: {key: value}} of a JSON file of metrics; None where the run diverged."""
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
        """A CSV file as a data frame of text; an empty cell is ''."""
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
        """The named arrays of an .npz file."""
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
    """CSV with a head line; rows are dicts. A float has 6 significant digits; None, and a key that
    a row lacks, are empty."""
    handle = io.StringIO()
    writer = csv.DictWriter(handle, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: plain(v) if isinstance(v, float) else v for k, v in row.items()})
    return handle.getvalue()
