"""The spec of a page of claims: each claim's criterion and the rows that it names.

A claim is left out if the study does not make its table or figure, or cannot measure its metric.
The number of such claims is kept.
"""

from gear.files.mistakes import Mistake, did_you_mean
from gear.study.specs.world import world
from gear.study.vocabulary import METRICS, SAMPLED

TITLE = "What reproduces and what does not"
PAIRS, LIMITS = ("lower", "higher", "not_higher", "not_lower"), ("below", "above")
ROW = ("row", "run", "stage", "step", "steps", "sampler", "paper", "replicas")


def _column(spec, test, where):
    """Position of the column that a test names. Mistake: no column or several columns fit."""
    positions = [
        i
        for i, column in enumerate(spec["columns"])
        if column["metric"] == test["metric"]
        and test.get("sampler", column["sampler"]) == column["sampler"]
    ]
    if len(positions) == 1:
        return positions[0]
    name = spec["name"]
    if positions:
        raise Mistake(f"{where}: table {name} has several {test['metric']}; add its `sampler:`.")
    cure = did_you_mean(test["metric"], [c["metric"] for c in spec["columns"]])
    raise Mistake(f"{where}: table {name} has no such column of {test['metric']}. {cure}")


def _named(test):
    """The rows that a test names."""
    names = [name for kind in PAIRS for pair in test.get(kind, ()) for name in pair]
    return names + [name for kind in LIMITS for name in test.get(kind, ())]


def _test(spec, test, where):
    """A test with its column. Mistake: it names a row that the table does not train."""
    trained = [row["row"] for row in spec["rows"] if "run" in row]
    for name in _named(test):
        if name not in trained:
            raise Mistake(
                f"{where}: table {spec['name']} has no trained row '{name}'. "
                f"{did_you_mean(name, trained)}"
            )
    if not _named(test):
        raise Mistake(f"{where}: a test on a table asks {', '.join(PAIRS)}, {' or '.join(LIMITS)}.")
    position = _column(spec, test, where)
    column = spec["columns"][position]
    kinds = {k: test[k] for k in (*PAIRS, *LIMITS) if k in test}
    return {"column": column, "position": position, **kinds}


def _curve_tests(study, claim, where):
    """(tests, the curves that they name) of a claim on convergence or on t2i_dynamics."""
    figure = claim["figure"]
    spec, tests, names = study.figure_specs[figure], [], []
    known = [c["label"] for c in spec.get("curves", ()) if c.get("baseline")]
    if not known:
        raise Mistake(f"{where}: no curve of figure '{figure}' has a baseline; name another one.")
    for test in claim["tests"]:
        for name in test.get("sooner", [""]):
            if name not in known:
                cure = did_you_mean(name, known)
                raise Mistake(f"{where}: no curve '{name}' has a baseline. {cure}")
        column = _curves_column(spec, test["metric"], where)
        tests.append({"column": column, "sooner": test["sooner"]})
        names += test["sooner"]
    bases = [c["baseline"] for c in spec["curves"] if c["label"] in names]
    return tests, [c for c in spec["curves"] if c["label"] in (*names, *bases)]


def _curves_column(spec, metric, where):
    """The column of a figure's curves. Mistake: the figure does not show the metric."""
    if "panels" not in spec:
        return {k: spec[k] for k in ("metric", "sampler", "protocol")}
    if metric not in spec["panels"]:
        cure = did_you_mean(metric, spec["panels"])
        raise Mistake(f"{where}: figure {spec['name']} shows no {metric}. {cure}")
    column = {"metric": metric, "sampler": "", "protocol": "curves"}
    printed = {label: values[metric] for label, values in spec["paper"].items()}
    return column | {"paper": printed, "window": spec["window"]}


def _check_name(study, kind, claim, where):
    """Mistake unless config/ has the table or figure that a claim names."""
    known = study.named[f"{kind}s"]
    if claim[kind] not in known:
        cure = did_you_mean(claim[kind], known)
        raise Mistake(f"{where}: there is no {kind} '{claim[kind]}'. {cure}")


def pages(study):
    """The names of the pages of claims, with the class-conditional one first."""
    return ["claims", *study.claims.get("pages", ())]


def _measurable(study, claim):
    """Whether a study makes the table or figure of a claim, with all metrics of its tests."""
    if "figure" in claim:
        return claim["figure"] in study.figures
    spec = study.table_specs.get(claim["table"])
    return spec is not None and not any(_is_lost(spec, test) for test in claim["tests"])


def _is_lost(spec, test):
    """Whether the table of a test has its column in other studies alone."""

    def found(columns):
        return any(
            metric == test["metric"] and test.get("sampler", sampler) == sampler
            for metric, sampler in columns
        )

    kept = [(column["metric"], column["sampler"]) for column in spec["columns"]]
    return found(spec.get("left_out", ())) and not found(kept)


def claims_spec(study, page="claims"):
    """All that a page's job needs, as data for JSON. Mistake: a name does not exist."""
    own, tables = study.claims.get("pages", {}).get(page, {}), study.table_specs
    claims, names, rows_of, curves, left_out = [], set(), {}, {}, 0
    spread = dict(own.get("spread", study.claims["spread"]))
    if spread["table"] in tables:
        spec = tables[spread["table"]]
        rows_of[spec["name"]] = {name for pair in spec["comparisons"] for name in pair}
        spread |= {"columns": spec["columns"], "comparisons": spec["comparisons"]}
    for claim in study.claims["claims"]:
        where = f"claims.yaml, '{claim['claim']}'"
        if claim["claim"] in names:
            raise Mistake(f"{where}: the claim is there twice; reword one.")
        names.add(claim["claim"])
        if ("table" in claim) == ("figure" in claim):
            raise Mistake(f"{where}: name either a table or a figure with speed-ups.")
        if claim.get("page", "claims") != page:
            continue
        if not _measurable(study, claim):
            _check_name(study, "table" if "table" in claim else "figure", claim, where)
            left_out += 1
            continue
        head = {k: claim[k] for k in ("claim", "source", "table", "figure") if k in claim}
        head["ours"] = claim.get("ours", False)
        if "figure" in claim:
            tests, named = _curve_tests(study, claim, where)
            curves |= {curve["label"]: curve for curve in named}
        else:
            spec = tables[claim["table"]]
            tests = [_test(spec, test, where) for test in claim["tests"]]
            rows = {name for test in claim["tests"] for name in _named(test)}
            rows_of[spec["name"]] = rows_of.get(spec["name"], set()) | rows
        claims.append(head | {"tests": tests})
    rows = [
        _pruned(row, table, claims, spread)
        for table, names in rows_of.items()
        for row in tables[table]["rows"]
        if row["row"] in names
    ]
    curves = list(curves.values())
    return _shared(study, claims, rows, curves) | {
        "name": page,
        "title": own.get("title", TITLE),
        "claims": claims,
        "left_out": left_out,
        "spread": spread,
        "rows": rows,
        "curves": curves,
    }


def _pruned(row, table, claims, spread):
    """A table's row with only the values that claims use, to keep the command line short."""
    tests = [test for claim in claims if claim.get("table") == table for test in claim["tests"]]
    columns = [test["column"] for test in tests]
    metrics = {test["column"]["metric"] for claim in claims for test in claim["tests"]}
    if table == spread["table"]:
        columns += [c for c in spread["columns"] if c["metric"] in metrics]
    blocks = {METRICS[c["metric"]].block for c in columns}
    samplers = {row.get("sampler") if c["sampler"] is None else c["sampler"] for c in columns}

    def kept(files):
        own = {k: v for k, v in files.items() if k in blocks}
        if blocks & set(SAMPLED):
            own |= {k: files[k] for k in ("generation", "elsewhere", "record") if k in files}
        if "generation" in own:
            own["generation"] = {s: v for s, v in own["generation"].items() if s in samplers}
        if blocks & {"reconstruction", "codebook"}:
            own["tokenizer"] = files["tokenizer"]
        return own

    pruned = {"table": table} | {k: row[k] for k in ROW if k in row}
    positions = {str(test["position"]) for test in tests}
    pruned["paper"] = {k: v for k, v in row["paper"].items() if k in positions}
    pruned["replicas"] = [r | {"files": kept(r["files"])} for r in row["replicas"]]
    return pruned


def _shared(study, claims, rows, curves):
    """The data for captions, for all runs and metrics of the claims."""
    columns = [test["column"] for claim in claims for test in claim["tests"]]
    runs = [replica["run"] for row in rows for replica in row["replicas"]]
    for curve in curves:
        runs += curve.get("files", ())
        runs += [run for point in curve.get("points", ()) for run in point["files"]]
    samplers = {c["sampler"] for c in columns} | {row.get("sampler") for row in rows}
    blocks = {METRICS[c["metric"]].block for c in columns}
    ordered = [s for s in study.spec["samplers"] if s in samplers]
    return world(study, list(dict.fromkeys(runs)), blocks, ordered)
