"""`gear compare`: compare the tables of two results folders, cell by cell."""

import math
from pathlib import Path

from gear.files.mistakes import Mistake
from gear.report.files import Results
from gear.study.configfiles import studies
from gear.study.vocabulary import ANALYSED, METRICS

# The allowed difference from our value for one training (n = 1): (share of our value, absolute), of
# which the larger counts. The numbers are chosen, not measured. They are for the same seed on
# another machine: its floating-point order differs, so its training drifts apart from ours. With
# several seeds the allowed difference is 3 sd over them. A metric that is not listed must be equal.
TOLERANCES = {
    "gfid": (0.15, 0.0),
    "sfid": (0.15, 0.0),
    "is": (0.05, 0.0),
    "precision": (0.0, 0.05),
    "recall": (0.0, 0.05),
    "fdd": (0.15, 0.0),
    "density": (0.0, 0.1),
    "coverage": (0.0, 0.05),
    "mmd": (0.15, 0.01),
    "clip_score": (0.0, 0.5),
    "fid": (0.15, 0.0),
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
    "top100": (0.0, 0.03),
    "top1000": (0.0, 0.03),
    "entropy_t1": (0.0, 0.1),
    "ntp": (0.0, 0.05),
    "align": (0.0, 0.03),
} | {key: (0.0, 0.05) for key, entry in METRICS.items() if entry.block in {*ANALYSED, "following"}}
SHOWN = 20  # different or missing cells that are listed


KEY = ["row", "step", "sampler", "metric"]
CELLS = [*KEY, "run", "source", "ours", "ours_sd", "seed_n"]
CLAIMS = ["claim", "verdict"]
VERDICTS = ["equal", "within", "different", "missing"]


def _tables(folder):
    """{table: its cells} of a results folder.

    Mistake: the folder holds no table, or a table is not as we write it."""
    names = sorted(path.stem for path in Path(folder).glob("tables/*.csv"))
    if not names:
        raise Mistake(
            f"{folder} holds no tables/*.csv; name a study's results folder, such as "
            "results/demo, and make its tables first (for the demo: make demo)."
        )
    results, tables = Results(folder), {}
    for name in names:
        file = f"tables/{name}.csv"
        tables[name] = _cells(_read(results, file), f"{folder}/{file}")
    return tables


def _read(results, path):
    """The data frame of a table, or of the page of claims. Mistake: it lacks a column."""
    lines = results.csv(path)
    return results.csv(path, CLAIMS if "verdict" in lines else CELLS)


def _cells(lines, where):
    """The columns ours, ours_sd and seed_n of the measured cells, as text, indexed by KEY.

    Quoted rows and cells with the paper's value alone are left out. So are sign-test p-values and
    paired differences of a single seed, because both follow from other cells."""
    if "verdict" in lines:  # of the page of claims only the verdicts are compared
        fixed = {"metric": "verdict", "step": "", "sampler": "", "seed_n": "1", "ours_sd": ""}
        lines = lines.assign(row=lines["claim"], ours=lines["verdict"], **fixed)
    else:
        single = (lines["run"] == "") & (lines["seed_n"] == "1")
        derived = lines["metric"].str.endswith("_sign_p") | single
        ours = (lines["source"] == "trained") & (lines["seed_n"] != "")
        lines = lines[ours & ~derived]
    values = ["ours", "ours_sd", "seed_n"]
    lines = lines.drop_duplicates([*KEY, *values])  # a claim has a line for each of its tests
    twice = lines[lines.duplicated(KEY)]
    if len(twice):
        row, step, _, metric = twice.iloc[0][KEY]
        raise Mistake(
            f"{where} has two values of {metric} for row '{row}' {step}; make the table again."
        )
    return lines.set_index(KEY)[values]


def _compare_table(a, b):
    """The cells of b, then the cells that only a has, with the columns other, verdict and allowed.

    other: a's text; allowed: the allowed difference. Verdicts: equal (same text), within (the
    difference is allowed), different, missing (in a or b)."""
    import pandas

    keys = b.index.union(a.index, sort=False)
    cells = b.reindex(keys).assign(other=a["ours"].reindex(keys), verdict="different")
    numbers = cells.drop(columns="verdict").apply(pandas.to_numeric, errors="coerce")
    limits = pandas.DataFrame(TOLERANCES, index=["share", "absolute"]).T
    limits = limits.reindex(keys.get_level_values("metric")).fillna(0.0).set_index(keys)
    one = (limits["share"] * numbers["ours"].abs()).clip(lower=limits["absolute"])
    cells["allowed"] = one.mask(numbers["seed_n"] > 1, 3 * numbers["ours_sd"])
    near = (numbers["other"] - numbers["ours"]).abs() <= cells["allowed"]  # False for text
    cells.loc[near, "verdict"] = "within"
    cells.loc[cells["other"] == cells["ours"], "verdict"] = "equal"
    cells.loc[cells[["other", "ours"]].isna().any(axis=1), "verdict"] = "missing"
    return cells


def _wrong(name, cells, folders):
    """A sentence for each cell that is different or missing."""
    for cell in cells[cells["verdict"].isin(["different", "missing"])].itertuples():
        row, step, sampler, metric = cell.Index
        where = f"{name}: {row}@{step}, {metric}" if step else f"{name}: {row}, {metric}"
        where += f" ({sampler})" if sampler else ""
        if cell.verdict == "missing":
            folder = folders[0] if isinstance(cell.other, str) else folders[1]
            yield f"missing    {where}: only in {folder}"
        else:
            limit = f", allowed ± {cell.allowed:.3g}" if math.isfinite(cell.allowed) else ""
            yield f"different  {where}: {cell.other}, not {cell.ours}{limit}"


def _verdicts(pages):
    """A sentence: how many verdicts of the pages of claims are equal."""
    equal = sum(int((cells["verdict"] == "equal").sum()) for cells in pages)
    return f"Verdicts of the claims: {equal} of {sum(map(len, pages))} equal."


def _require_one_study(*folders):
    """Mistake: the names of the folders are those of two studies."""
    names = [Path(folder).name for folder in folders]
    if names[0] != names[1] and set(names) <= set(studies()):
        raise Mistake(
            f"{folders[0]} is of study {names[0]}, {folders[1]} of study {names[1]}; name two "
            "folders of one study."
        )


def compare(a_dir, b_dir, strict=False):
    """Print how the tables below a_dir (yours) agree with those below b_dir (the reference).

    Returns the exit code: 0, or 1 where `strict` and a cell, row or table is different or missing.
    Mistake: a folder without tables, or the two are of different studies.
    """
    folders = (str(a_dir), str(b_dir))
    _require_one_study(*folders)
    a, b = _tables(a_dir), _tables(b_dir)
    total, wrong, lost = dict.fromkeys(VERDICTS, 0), [], 0
    width = max(map(len, (*a, *b)))
    for folder, ours, theirs in ((folders[0], a, b), (folders[1], b, a)):
        alone = [name for name in ours if name not in theirs]
        lost += len(alone)
        if alone:
            print(f"only in {folder}: {', '.join(alone)}")
    for name in (name for name in b if name in a):
        cells = _compare_table(a[name], b[name])
        wrong += _wrong(name, cells, folders)
        counts = {verdict: int((cells["verdict"] == verdict).sum()) for verdict in VERDICTS}
        total = {verdict: total[verdict] + count for verdict, count in counts.items()}
        print(f"{name:<{width}}  " + "  ".join(f"{n:4d} {key}" for key, n in counts.items()))
    for line in wrong[:SHOWN]:
        print(line)
    if len(wrong) > SHOWN:
        print(f"and {len(wrong) - SHOWN} more")
    cells = ", ".join(f"{n} {key}" for key, n in total.items())
    tables = f"; {lost} table{'s' if lost > 1 else ''} in one folder alone" if lost else ""
    common = cells if a.keys() & b.keys() else "no table in common"
    print(f"{folders[0]} against {folders[1]}: {common}{tables}.")
    if total["different"]:
        print("Another processor gives other trainings, so some cells differ (NOTES.md).")
    pages = [name for name in b if name in a and name.split("_")[0] == "claims"]
    if pages:
        print(_verdicts([_compare_table(a[name], b[name]) for name in pages]))
    return int(bool(strict and (wrong or lost)))
