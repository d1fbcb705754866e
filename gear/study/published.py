"""The numbers printed in the paper, from config/paper.csv."""

import functools

from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_csv

COLUMNS = ("table", "row", "metric", "sampler", "protocol", "value")


@functools.lru_cache(maxsize=4)
def _published(path):
    """{(table, row): {metric: [(sampler, protocol, value as printed), ...]}} of paper.csv."""
    rows = {}
    for line in read_csv(path, COLUMNS)[1]:
        try:
            if line["protocol"] != "setting":  # a setting may be a word
                float(line["value"])
        except ValueError:
            raise Mistake(
                f"{path}, table {line['table']}, row {line['row']}: the value {line['value']!r} is "
                "no number; correct it."
            ) from None
        cells = rows.setdefault((line["table"], line["row"]), {})
        cell = (line["sampler"], line["protocol"], line["value"])
        cells.setdefault(line["metric"], []).append(cell)
    return rows


@functools.lru_cache(maxsize=4)
def _samplers(path):
    cells = _published(path).values()
    return list(dict.fromkeys(c[0] for row in cells for found in row.values() for c in found))


def published_samplers(study):
    """The samplers that paper.csv names."""
    return _samplers(str(study.folder / "paper.csv"))


def published_row(study, table, row, where):
    """{metric: [(sampler, protocol, value as text), ...]} of one row of paper.csv.

    Mistake: there is no such table or row; the sentence names the nearest row."""
    published = _published(str(study.folder / "paper.csv"))
    if (str(table), row) not in published:
        known = [name for number, name in published if number == str(table)]
        if not known:
            raise Mistake(f"{where}: paper.csv has no table '{table}'; correct `paper:`.")
        raise Mistake(
            f"{where}: paper.csv, table {table}, has no row '{row}'. {did_you_mean(row, known)}"
        )
    return published[str(table), row]
