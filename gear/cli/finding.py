"""One line of `gear doctor`."""

from dataclasses import dataclass

OK, MISSING, NOTE = "ok", "missing", "note"


@dataclass(frozen=True)
class Finding:
    state: str
    subject: str
    said: str

    def __str__(self):
        return f"{self.state:8} {self.subject:10} {self.said}"
