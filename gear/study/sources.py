"""External files: who publishes them, with link, size, hash and licence (config/sources.csv).

`unknown` in a column means that nobody here knows it; an empty column, that it does not apply.
"""

from dataclasses import dataclass, fields
from functools import cache

from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_csv
from gear.study.configfiles import CONFIG

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Source:
    """One line of sources.csv. sha256 may be the beginning of a hash, as in a file's name."""

    name: str
    file: str
    used_for: str
    project: str
    link: str
    bytes: str
    sha256: str
    licence: str
    second_home: str
    note: str

    def __str__(self):
        words = [self.project, f"link {self.link}"]
        if self.bytes.isdigit():
            words.append(f"{int(self.bytes):,} bytes")
        words += [f"sha256 {self.sha256}"] if self.hash else []
        words.append(f"licence {self.licence}")
        words += [f"also {self.second_home}"] if self.second_home not in ("", UNKNOWN) else []
        return ", ".join(words + ([self.note] if self.note else []))

    @property
    def hash(self):
        """The known hexadecimal digits of its sha256; '' where none is known."""
        return "" if self.sha256 in ("", UNKNOWN) else self.sha256


@cache
def sources(folder=CONFIG):
    """{name: Source} of sources.csv. Mistake: other columns, or a name that is there twice."""
    path, found = folder / "sources.csv", {}
    columns = [field.name for field in fields(Source)]
    head, lines = read_csv(path, columns)
    if head != columns:
        raise Mistake(f"{path}: its columns are {', '.join(columns)}; remove the others.")
    for line in lines:
        if line["name"] in found:
            raise Mistake(
                f"{path}: the name '{line['name']}' is there twice; rename or remove one."
            )
        found[line["name"]] = Source(**line)
    return found


def source(name):
    """The Source of that name. Mistake: there is none."""
    if name not in sources():
        raise Mistake(f"sources.csv has no '{name}'. {did_you_mean(name, sources())}")
    return sources()[name]
