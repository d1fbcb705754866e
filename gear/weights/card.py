"""A model card: what a checkpoint is, from the files that its training and its scores left."""

from pathlib import Path

from gear.files.mistakes import Mistake
from gear.files.reading import read_record
from gear.runtime.checkpoint import require_step

LICENCE = (
    "The code is under Apache-2.0. The weights come from the images, the "
    "teacher and the weights that the training started from, each with terms of its own "
    "(config/sources.csv). Whoever publishes them has to look these up."
)


def card(folder):
    """Markdown of a checkpoint folder. Mistake: its run.json is missing or of no training."""
    folder = Path(folder)
    require_step(folder)
    record = read_record(folder / "run.json")
    if "settings" not in record:
        raise Mistake(f"{folder}/run.json states no settings; name the folder of a checkpoint.")
    parts = {
        "Training": _training(record),
        "Settings": _settings(record),
        "Data": _data(folder, record),
        "Scores": _scores(folder),
        "Stand-ins": _stand_ins(folder, record),
        "Where it comes from": _origin(record),
        "Licence": [LICENCE],
    }
    lines = [f"# {' '.join(folder.parts[-3:])}", ""]
    for title, text in parts.items():
        lines += [f"## {title}", "", *(text or ["Not known."]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _root(folder):
    """The folder of the study's results, three levels up: <root>/<stage>/<run>/<step>.

    A checkpoint that was imported may lie anywhere."""
    above = folder.absolute().parents
    return above[min(2, len(above) - 1)]


def _table(head, rows):
    lines = [head, tuple("---" for _ in head), *rows]
    return [
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    ]


def _training(record):
    rows = [(key, record[key]) for key in ("status", "steps", "collapsed_at") if key in record]
    counts = record.get("parameters", {}).items()
    rows += [(f"parameters of the {name}", f"{count:,}") for name, count in counts]
    rows += [(key, record[key]) for key in ("wall_s", "cpu_s", "gpu_hours") if key in record]
    return _table(("what", "value"), rows)


def _settings(record):
    changed = record.get("difference", {})
    if not changed:
        return ["All are the defaults of gear/config.py, which are the paper's."]
    said = "Those that differ from the defaults of gear/config.py, which are the paper's:"
    return [said, "", *_table(("setting", "value"), sorted(changed.items()))]


def _data(folder, record):
    data = record["settings"].get("data", {})
    keys = ("source", "path", "resolution", "channels", "classes")
    rows = [(key, data[key]) for key in keys if key in data]
    for path in (Path(data.get("path", ""), "manifest.json"), _root(folder) / "data/manifest.json"):
        if path.is_file():
            counted = read_record(path).get("images", {})
            rows += [(f"images of {split}", sum(n.values())) for split, n in counted.items()]
            break
    return _table(("what", "value"), rows)


def _scores(folder):
    step = folder.absolute().relative_to(_root(folder))
    rows, notes = [], []
    for path in sorted((_root(folder) / "metrics" / step).glob("*.json")):
        content = read_record(path)
        for note in content.pop("notes", ()):
            notes.append(f"- {path.stem}: {note}")
        if drawn := content.pop("record", None):
            said = ", ".join(f"{name} {value}" for name, value in drawn.items())
            notes.append(f"- {path.stem} was drawn with {said}")
        for protocol, values in content.items():
            for metric, value in values.items():
                shown = "diverged" if value is None else f"{value:.5g}"
                rows.append((path.stem, protocol, metric, shown))
    if not rows:
        return ["None was computed."]
    said = (
        "`validation` is of the validation images, other names are samplers. Values of different "
    )
    said += "protocols do not compare."
    table = _table(("of", "protocol", "metric", "value"), rows)
    return [said, "", *table, *(["", *notes] if notes else [])]


def _stand_ins(folder, record):
    """Sentences on networks that stand in for public ones; none has that field in older records."""
    lines = []
    align = record["settings"].get("align", {})
    for name in ("features", f"teacher/{align.get('teacher', '')}"):
        path = _root(folder) / name / "run.json"
        if not path.is_file():
            continue
        found = read_record(path)
        stands = found.get("kind", "standin") == "standin"
        what = "a stand-in that was trained here" if stands else "a public network"
        lines.append(f"- {name}: {found.get('label', 'no label')}, {what}.")
    return lines


def _origin(record):
    keys = ("commit", "dirty", "python", "device", "processes", "time")
    rows = [(key, record[key]) for key in keys if key in record]
    rows += [(name, version) for name, version in record.get("versions", {}).items()]
    rows += [(f"input {path}", f"sha256 {sha}") for path, sha in record.get("inputs", {}).items()]
    return _table(("what", "value"), rows)
