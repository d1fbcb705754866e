"""Is a result reproduced? Compare the tables of two results folders, cell by cell."""

import math
from pathlib import Path

from gear.files.mistakes import Mistake
from gear.report.files import read_csv
from gear.study.vocabulary import ANALYSED, METRICS

# For one training (n = 1), how far a number may lie from ours and still count as reproduced:
# (share of our value, absolute), the larger of the two. Chosen, not measured, for the same seed on
# another machine, whose floating-point order differs and whose training drifts apart from ours;
# where there are several seeds, 3 sd over them count instead. What is not listed must be equal.
TOLERANCES = {
    "gfid": (0.15, 0.0),
    "sfid": (0.15, 0.0),
    "is": (0.05, 0.0),
    "precision": (0.0, 0.05),
    "recall": (0.0, 0.05),
    "rfid": (0.20, 0.0),
    "psnr": (0.0, 0.5),
    "ssim": (0.0, 0.02),
    "l1": (0.05, 0.0),
    "usage": (0.0, 0.05),
    "usage_entropy": (0.0, 0.1),
    "perplexity": (0.10, 0.0),
    "entropy": (0.0, 0.1),
    "effective_size": (0.10, 0.0),
    "top1": (0.0, 0.03),
    "top10": (0.0, 0.03),
    "ntp": (0.0, 0.05),
    "align": (0.0, 0.03),
} | {key: (0.0, 0.05) for key, entry in METRICS.items() if entry.block in ANALYSED}
SHOWN = 20  # different or missing cells that are listed


def _tables(folder):
    """{table: {cell: CSV line}} of a results folder. Mistake where it holds no table."""
    found = sorted((Path(folder) / "tables").glob("*.csv"))
    if not found:
        raise Mistake(
            f"{folder} holds no tables/*.csv; name a study's results folder, such as "
            "results/demo, and make its tables first (for the demo: make demo)."
        )
    return {path.stem: _cells(path) for path in found}


def _cells(path):
    """{(row, step, sampler, metric): line} of what was measured here.

    Left out: quoted rows; sign-test p-values, and paired differences of a single seed, because
    both follow from cells that are compared anyway."""
    cells = {}
    for line in read_csv(path.parent, path.name):
        if "verdict" in line:  # the page of claims: what it says of each, not how it got there
            said = {"metric": "verdict", "ours": line["verdict"], "seed_n": "1"}
            cells[line["claim"], "", "", "verdict"] = said
            continue
        derived = line["metric"].endswith("_sign_p") or (not line["run"] and line["seed_n"] == "1")
        if line["source"] == "trained" and not derived:
            cells[line["row"], line["step"], line["sampler"], line["metric"]] = line
    return cells


def _number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan


def allowed(line):
    """How far another value may lie from this line of the reference."""
    if _number(line["seed_n"] or "1") > 1:
        return 3 * _number(line["ours_sd"] or "nan")
    share, absolute = TOLERANCES.get(line["metric"], (0.0, 0.0))
    return max(share * abs(_number(line["ours"])), absolute)


def verdict(a, b):
    """'equal' (same text), 'within' (as near as `allowed` of b says) or 'different'."""
    if a["ours"] == b["ours"]:
        return "equal"
    distance = abs(_number(a["ours"]) - _number(b["ours"]))
    return "within" if distance <= allowed(b) else "different"  # nan is different


def _compare_table(name, a, b, folders):
    """(counts of one table, what is wrong with it as lines)."""
    counts = dict.fromkeys(("equal", "within", "different", "missing"), 0)
    wrong = []
    for key in dict.fromkeys((*b, *a)):
        row, step, sampler, metric = key
        where = f"{name}: {row}{'@' + step if step else ''}, {metric}"
        where += f" ({sampler})" if sampler else ""
        if key not in a or key not in b:
            counts["missing"] += 1
            wrong.append(f"missing    {where}: only in {folders[key not in a]}")
            continue
        found = verdict(a[key], b[key])
        counts[found] += 1
        if found == "different":
            near = allowed(b[key])
            limit = f", allowed ± {near:.3g}" if math.isfinite(near) else ""
            wrong.append(f"different  {where}: {a[key]['ours']}, not {b[key]['ours']}{limit}")
    return counts, wrong


def compare(a_dir, b_dir, strict=False):
    """Print how the tables below a_dir (yours) agree with those below b_dir (the reference).

    Returns the exit code: 0, or 1 where `strict` and a cell, row or table is different or missing.
    Mistake: a folder without tables.
    """
    folders = (str(a_dir), str(b_dir))
    a, b = _tables(a_dir), _tables(b_dir)
    total, wrong, lost = {}, [], 0
    width = max(map(len, (*a, *b)))
    for name in dict.fromkeys((*b, *a)):
        if name not in a or name not in b:
            lost += 1
            print(f"{name:<{width}}  only in {folders[name not in a]}")
            continue
        counts, here = _compare_table(name, a[name], b[name], folders)
        wrong += here
        total = {key: total.get(key, 0) + count for key, count in counts.items()}
        print(f"{name:<{width}}  " + "  ".join(f"{n:4d} {key}" for key, n in counts.items()))
    for line in wrong[:SHOWN]:
        print(line)
    if len(wrong) > SHOWN:
        print(f"and {len(wrong) - SHOWN} more")
    cells = ", ".join(f"{n} {key}" for key, n in total.items())
    tables = f"; {lost} table{'s' if lost > 1 else ''} in one folder alone" if lost else ""
    print(f"{folders[0]} against {folders[1]}: {cells or 'no table in common'}{tables}.")
    return int(bool(strict and (wrong or lost)))
