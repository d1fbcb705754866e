"""Readers of the files of a study's results. A Mistake names a missing or damaged file."""

import csv
import io
from pathlib import Path

from gear.files import reading
from gear.files.mistakes import Mistake
from gear.study.vocabulary import plain

PICTURES = ("samples", "originals", "reconstructions")  # (N, H, W, C)
PROMPTED = ("prompts", "words")  # (prompts, pictures, H, W, C); texts and other arrays are (N,)


class Results:
    """The files below the root of a study's results. Paths are relative to the root."""

    def __init__(self, root):
        self.root, self._json = Path(root), {}

    def _there(self, path):
        """The file below the root. Mistake: there is none."""
        if not (self.root / path).exists():
            raise Mistake(f"{path} is missing below {self.root}; run the rule that makes it.")
        return self.root / path

    def json(self, path):
        if path not in self._json:
            file = self._there(path)
            self._json[path] = reading.read_record(file, "delete it and re-run its rule")
        return self._json[path]

    def value(self, path, group, key):
        """The value of a key in a group of a JSON file {group: {key: value}}; None: run diverged.

        Mistake: the file is missing or damaged, or has no such group or key."""
        cure = "delete it and score that checkpoint again"
        values = self.group(path, group, cure)
        if values is None:
            return None
        if key not in values:
            raise Mistake(f"{path} has no '{key}' under '{group}'; {cure}.")
        value = values[key]
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise Mistake(f"{path}: '{key}' under '{group}' is {reading.named(value)}; {cure}.")
        return value

    def group(self, path, group, cure="delete it and make it again"):
        """The mapping of a group of a JSON file; None: run diverged. Mistake: as of `value`."""
        groups = self.json(path)
        if group not in groups:
            names = ", ".join(sorted(groups)) or "nothing"
            raise Mistake(f"{path} holds {names}, not '{group}'; {cure}.")
        if groups[group] is None:
            return None
        return reading.required(groups, group, dict, path, cure)

    def csv(self, path, columns=()):
        """A CSV file as a data frame of text; an empty cell is ''.

        columns: that it must have. Mistake: the file is missing or is no such CSV."""
        import pandas

        head, rows = reading.read_csv(self._there(path), columns, "make it again")
        return pandas.DataFrame(rows, columns=head, dtype=str)

    def arrays(self, path, *names):
        """The named arrays of an .npz of pictures, labels or seeds.

        Mistake: file or array is missing, or damaged."""
        from gear.files.arrays import read_arrays

        cure = "delete it and draw that checkpoint again"
        arrays = list(read_arrays(self._there(path), names, cure).values())
        for name, array in zip(names, arrays, strict=True):
            dims = 4 if name in PICTURES else 5 if name in PROMPTED else 1
            kinds = "U" if name.endswith("_prompts") else "biu"
            if array.ndim != dims or array.dtype.kind not in kinds:
                shape = f"{array.dtype} of shape {array.shape}"
                raise Mistake(f"{path}: {name} is {shape}, no array of ours; {cure}.")
        return arrays


def csv_text(columns, rows):
    """The text of a CSV file with a head line; rows: dicts.

    Floats have 6 significant digits. A cell is empty where the value is None or the key missing."""
    handle = io.StringIO()
    writer = csv.DictWriter(handle, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: plain(v) if isinstance(v, float) else v for k, v in row.items()})
    return handle.getvalue()
