"""The kinds of figures, a file each: the model `Entry` of an entry of figures.yaml, and
`spec(study, entry, where)`, which says what such a figure shows."""

from pathlib import Path

KINDS = tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem != "__init__"))
