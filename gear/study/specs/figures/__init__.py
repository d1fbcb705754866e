"""The kinds of figures, a file each: `spec(study, entry, where)` says what one of them shows."""

from pathlib import Path

KINDS = tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem != "__init__"))
