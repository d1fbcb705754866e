"""The numbers of a table's cells: a value per seed, and differences paired by seed."""

from dataclasses import dataclass, field

from gear.metrics import ALIASED
from gear.report.seeds import Seeds, paired
from gear.study.elsewhere import score
from gear.study.specs.columns import guidance_of
from gear.study.vocabulary import ANALYSED, COLLAPSED, METRICS, SAMPLED


@dataclass
class Measurement(Seeds):
    """One metric of one row: a value per seed, and the paper's."""

    paper: str | None = None  # as the paper prints it
    delta: float | None = None  # ours minus the paper's, if the protocol is the same
    gain: float | None = None  # mean over seeds of the row minus its baseline row


@dataclass
class Row:
    spec: dict
    measured: list  # one Measurement per column of the table
    parameters: Measurement | None  # in millions
    collapsed: int  # how many of its runs use less than COLLAPSED of their codes
    records: dict = field(default_factory=dict)  # {sampler: protocol record} of captions' pictures


def protocol_of(row, column):
    """The protocol of a cell: its column's, or that of the row's aliased images."""
    generation = METRICS[column["metric"]].block == "generation"
    own = row.get("aliased", False) and generation
    return ALIASED.format(column["protocol"]) if own else column["protocol"]


def measure(results, row, column, printed=None):
    """The Measurement of a row, without delta and gain; printed: the paper's value as text.

    It has no values if this kind of checkpoint has no such metric. Mistake: a file is missing or
    damaged."""
    block, values = METRICS[column["metric"]].block, {}
    sampler = row.get("sampler") if column["sampler"] is None else column["sampler"]
    for replica in row.get("replicas", ()):
        paths = replica["files"]
        if block == "benchmark":
            path = paths.get("elsewhere", {}).get(column["metric"], {}).get(sampler)
            if path is not None:
                values[replica["seed"]] = scored_elsewhere(results, path, paths["record"])[0]
            continue
        if block in SAMPLED:
            path = paths.get("generation", {}).get(sampler)
        elif block in ("likelihood", *ANALYSED):
            path = paths.get(block)
        else:
            path = paths.get("tokenizer")
        if path is not None:
            value = results.value(path, protocol_of(row, column), column["metric"])
            values[replica["seed"]] = value
    return Measurement(values, printed)


def scored_elsewhere(results, path, record):
    """(a score that another project's scorer gave, the hash of its prompts); record: of the run.

    Mistake: the file is missing or damaged, or of other weights."""
    return score(path, results.json(record).get("weights_sha256"))


def _records(results, row):
    """{what is scored: its protocol record} of the pictures of a row that were drawn from captions.

    A record has guidance, temperature, top_k, top_p, images a prompt, seed and prompts_sha256."""
    found = {}
    for replica in row.get("replicas", ()):
        files = replica["files"]
        for sampler, path in files.get("generation", {}).items():
            if "record" in results.json(path):
                found.setdefault(sampler, results.group(path, "record"))
        for key, paths in files.get("elsewhere", {}).items():
            for sampler, path in paths.items():
                prompts = scored_elsewhere(results, path, files["record"])[1]
                record = {"guidance": guidance_of(sampler), "prompts_sha256": prompts}
                found.setdefault(f"{METRICS[key].name} at {record['guidance']:g}", record)
    return found


def _row(results, spec, row):
    measured = []
    for position, column in enumerate(spec["columns"]):
        printed = row["paper"].get(str(position), {})
        cell = measure(results, row, column, printed.get("value"))
        same = spec["compares_with_paper"] and printed.get("protocol") == column["protocol"]
        if same and cell.mean is not None:
            cell.delta = cell.mean - float(cell.paper)
        measured.append(cell)
    parameters, collapsed = None, 0
    if spec["parameters"]:
        parameters = Measurement(paper=row["paper"].get("params_m", {}).get("value"))
        if "run" in row:
            count = results.value(row["parameters"], "parameters", spec["parameters"])
            parameters.values = {row["replicas"][0]["seed"]: count / 1e6}
    for replica in row.get("replicas", ()):
        if "tokenizer" in replica["files"]:
            usage = results.value(replica["files"]["tokenizer"], "codebook", "usage")
            collapsed += usage is not None and usage < COLLAPSED
    return Row(row, measured, parameters, collapsed, _records(results, row))


def numbers(results, spec):
    """(rows, {'A − B': [Seeds of the differences per column]}) of a table."""
    rows = {row["row"]: _row(results, spec, row) for row in spec["rows"]}
    for row in rows.values():
        if row.spec.get("baseline"):
            baseline = rows[row.spec["baseline"]].measured
            for cell, base in zip(row.measured, baseline, strict=True):
                cell.gain = paired(cell, base).mean
    comparisons = {
        f"{a} − {b}": list(map(paired, rows[a].measured, rows[b].measured))
        for a, b in spec["comparisons"]
    }
    return list(rows.values()), comparisons
