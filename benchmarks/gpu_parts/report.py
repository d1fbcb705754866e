"""The rows of benchmarks/gpu.py: how they are made, printed and written.

A row is {name, ok, numbers, note}: ok is True, False, or None where nothing was judged (a plain
measurement, or a case that was left out; the note says why).
"""

import time
import traceback


def row(name, ok=None, note="", known=None, **numbers):
    """known: {name: number} for later parts; numbers: shown and saved."""
    made = {"name": name, "ok": ok, "numbers": numbers, "note": note}
    return made | ({"known": known} if known else {})


def cases(context, functions, reserve=0.0):
    """The row of each {name: function}. A function that raises becomes a failed row with its
    traceback; one that has no time left becomes a row that says so.

    reserve: seconds that a case needs at least."""
    for name, function in functions.items():
        if context.left() < reserve:
            yield row(name, note="left out: no time left")
            continue
        began = time.monotonic()
        try:
            made = function()
        except Exception:
            made = row(name, ok=False, note=traceback.format_exc())
        made["seconds"] = round(time.monotonic() - began, 2)
        yield made


WORDS = {True: "ok", False: "FAILED", None: "-"}


def shown(number):
    if isinstance(number, float):
        return f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}"
    return str(number)


def figures(found):
    return ", ".join(f"{key} {shown(value)}" for key, value in found["numbers"].items())


def say_row(found):
    print(f"  {WORDS[found['ok']]:6} {found['name']}: {figures(found)} {found['note']}", flush=True)


def markdown(content):
    """The whole run as Markdown."""
    lines = [
        f"# {content['device']}, {content['date']}",
        "",
        f"Driver {content['driver']}, torch {content['torch']}, commit {content['commit']}, "
        f"seed {content['seed']}"
        + (", toy sizes" if content["tiny"] else "")
        + ". Made by `python benchmarks/gpu.py`; all weights and images are random.",
    ]
    for name, part in content["parts"].items():
        lines += ["", f"## {name}: {part['status']}, {part['seconds']} s", ""]
        lines += ["| case | verdict | figures | note |", "| --- | --- | --- | --- |"]
        for found in part["rows"]:
            note = found["note"].strip().splitlines()[-1:] if found["ok"] is False else None
            note = " ".join(note if note is not None else [found["note"]]).replace("|", "\\|")
            note = note.replace("\n", "<br>")
            lines.append(f"| {found['name']} | {WORDS[found['ok']]} | {figures(found)} | {note} |")
        if "problem" in part:
            lines += ["", "```", part["problem"].strip(), "```"]
    return "\n".join(lines) + "\n"
