"""The spec of a table or figure: everything that its job shows, and nothing else.

`table_spec` and `figure_spec` look up runs, steps, file names (relative to the study's root) and
published values. So a job does not read config/, and a change elsewhere re-runs nothing. Snakemake
imports this module at each start, so it must not import torch.
"""

from gear.files.mistakes import Mistake, did_you_mean
from gear.study import elsewhere
from gear.study.needs import Need
from gear.study.published import published_row
from gear.study.specs.columns import columns as find_columns
from gear.study.specs.columns import draws_captions, scored
from gear.study.specs.configuration import configuration_spec
from gear.study.specs.figure import figure_spec
from gear.study.specs.world import (
    named,
    pick,
    resolutions,
    shows_paper,
    world,
)
from gear.study.stages import STAGES
from gear.study.vocabulary import ANALYSED, METRICS, SAMPLED, metric

__all__ = ["figure_spec", "inputs", "table_spec"]


def _replica(study, checkpoint, row, columns):
    """One trained model of a row, with the files that hold its numbers."""
    blocks = {METRICS[c["metric"]].block for c in columns}
    source, files = study.tokenizer_of(checkpoint), {}
    if blocks - ANALYSED:
        files["tokenizer"] = Need("validation", source)
    if "similarity" in blocks:
        files["similarity"] = Need("analysis", source)
    if STAGES[checkpoint.stage].has_ar:
        names = [s for s in scored(columns, row) if s in study.spec["samplers"]]
        files["generation"] = {s: Need("scores", checkpoint, s) for s in names}
        if "likelihood" in blocks:
            files["likelihood"] = Need("validation", checkpoint)
        if "states" in blocks:
            files["states"] = Need("analysis", checkpoint)
        if others := elsewhere.files(study, checkpoint, columns, row):
            files |= {"elsewhere": others, "record": Need("record", checkpoint)}
    seed = study.runs[checkpoint.run].settings.seed
    return {"run": checkpoint.run, "seed": seed, "files": files}


class NoColumn(Mistake):
    """A study can measure no column of a table."""


def _kept(study, entry, columns, where):
    """(the columns that the study measures or the paper prints, [metric, sampler] of others)."""
    printed, there = set(), set()
    for row in entry["rows"]:
        printed |= {int(p) for p in _paper_cells(study, entry, row, columns, None, where) if p}
        if "run" in row:
            checkpoint = study.at(row["run"], where)
            there |= set(elsewhere.files(study, checkpoint, columns, row))
    kept = [
        column
        for position, column in enumerate(columns)
        if column.get("measured", True) or position in printed or column["metric"] in there
    ]
    if not kept:
        raise NoColumn(f"{where}: study '{study.name}' can measure none of its columns; drop it.")
    return kept, [[c["metric"], c["sampler"]] for c in columns if c not in kept]


def _parameters(study, checkpoints, columns):
    """The network whose parameters the table shows: 'ar', 'tokenizer' or None.

    'ar' where the ARs of the rows differ; 'tokenizer' in a table of reconstructions only."""
    runs = [study.runs[checkpoint.run] for checkpoint in checkpoints]
    blocks = {metric(c["metric"], "").block for c in columns}
    if not blocks & set(SAMPLED):
        return "tokenizer" if "reconstruction" in blocks else None
    sizes = {(r.settings.ar.layers, r.settings.ar.dim) for r in runs}
    return "ar" if len(sizes) > 1 else None


def _paper_cells(study, entry, row, columns, parameters, where):
    """{column's position or 'params_m': {value, protocol}} of the paper's values for a row."""
    if "paper" not in row or not shows_paper(study):
        return {}
    if "paper" not in entry:
        raise Mistake(f"{where}: row '{row['row']}' names a paper row; give the table `paper:`.")
    published = published_row(study, entry["paper"], row["paper"], where)
    cells, under = {}, row.get("quoted_under")
    samplers = [column["sampler"] for column in columns]
    if under and under not in samplers:
        cure = did_you_mean(under, list(filter(None, dict.fromkeys(samplers))))
        raise Mistake(f"{where}: row '{row['row']}': no column is of sampler '{under}'. {cure}")
    for position, column in enumerate(columns):
        for sampler, protocol, value in published.get(column["metric"], ()):
            # a row with its own sampler: the paper gives it another sampler name
            if (under or sampler) == column["sampler"] or (column["sampler"] is None and sampler):
                cells[str(position)] = {"value": value, "protocol": protocol}
    if parameters and "params_m" in published:
        cells["params_m"] = {"value": published["params_m"][0][2], "protocol": ""}
    return cells


def _row(study, entry, row, columns, parameters, where):
    line = {"row": row["row"], "source": "trained" if "run" in row else "quoted"}
    line["paper"] = _paper_cells(study, entry, row, columns, parameters, where)
    if "run" not in row:
        if not line["paper"]:
            raise Mistake(f"{where}: row '{row['row']}' has no run; give `run:` or `paper:`.")
        return line
    checkpoint = study.at(row["run"], where)
    alone = "seeds" not in entry or row.get("alone")
    runs = [checkpoint.run] if alone else study.replicas(checkpoint.run)
    replicas = [study.checkpoint(run, checkpoint.milestone, where) for run in runs]
    replicas = [_replica(study, each, row, columns) for each in replicas]
    if not _shows_ours(replicas, row, columns):
        return line | {"source": "quoted", "not_scored": True} if line["paper"] else None
    _check_conditions(study, checkpoint, replicas, row, where)
    line |= named(study, checkpoint) | {
        "baseline": row.get("baseline"),
        "default": row["row"] == entry.get("default"),
        "replicas": replicas,
    }
    if "sampler" in row:
        line["sampler"] = row["sampler"]
    if row.get("aliased"):
        if not study.spec["protocols"]["generation"].get("aliased"):
            raise Mistake(
                f"{where}: row '{row['row']}' shows aliased scores; set "
                f"protocols.generation.aliased: true in studies/{study.name}.yaml."
            )
        line["aliased"] = True
    if parameters:
        line["parameters"] = Need("record", checkpoint)
    return line


def _shows_ours(replicas, row, columns):
    """Whether a row has a number of ours: all of its own may be scores of other samplers."""
    files = [replica["files"] for replica in replicas]
    if "sampler" not in row or any(c["sampler"] == "" for c in columns):
        return True
    return any(each.get("generation") or each.get("elsewhere") for each in files)


def _check_conditions(study, checkpoint, replicas, row, where):
    """Mistake where a sampler draws from captions and the run reads classes, or the reverse."""
    reads = study.runs[checkpoint.run].settings.reads_text
    for sampler in replicas[0]["files"].get("generation", ()):
        if draws_captions(study, sampler) != reads:
            what = ("classes", "captions")[reads]
            raise Mistake(
                f"{where}: row '{row['row']}' shows {checkpoint.run}, which reads {what}, but "
                f"sampler '{sampler}' draws from {('captions', 'classes')[reads]}; name another."
            )


def _without_lost_baselines(entry, rows) -> list[dict]:
    """The rows; one whose baseline has no number of ours has no difference from it."""
    trained = {row["row"] for row in rows if row["source"] == "trained"}
    lost = {row["row"] for row in entry["rows"] if "run" in row} - trained
    return [row | {"baseline": None} if row.get("baseline") in lost else row for row in rows]


def _check_names(entry, rows, where):
    """Mistake unless rows are unique and baselines, comparisons and default are trained rows."""
    names = [r["row"] for r in rows]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise Mistake(f"{where}: the row '{twice}' is there twice; rename one.")
    trained = [r["row"] for r in rows if r["source"] == "trained"]
    references = [("baseline", r.get("baseline")) for r in rows]
    references += [("comparisons", n) for pair in entry.get("comparisons", []) for n in pair]
    references.append(("default", entry.get("default")))
    for what, name in references:
        if name is not None and name not in trained:
            raise Mistake(
                f"{where}: {what} names no trained row '{name}'. {did_you_mean(name, trained)}"
            )


def table_spec(study, name):
    """All that the table's job needs, as data for JSON. Mistake: a name does not exist."""
    entry, where = pick(study, "table", name), f"tables.yaml, {name}"
    if entry.get("kind") == "configuration":
        return configuration_spec(study, name)
    if not shows_paper(study):  # without the rows that are the paper's alone
        ours = {"rows": [row for row in entry["rows"] if "run" in row]}
        entry = {k: v for k, v in entry.items() if k != "paper"} | ours
    columns, left_out = _kept(study, entry, find_columns(study, entry, where), where)
    shown = [study.at(row["run"], where) for row in entry["rows"] if "run" in row]
    parameters = _parameters(study, shown, columns)
    rows = [_row(study, entry, row, columns, parameters, where) for row in entry["rows"]]
    rows = _without_lost_baselines(entry, [row for row in rows if row])
    _check_names(entry, rows, where)
    samplers = _samplers(study, entry, columns)
    blocks = {metric(c["metric"], where).block for c in columns}
    runs = [replica["run"] for row in rows for replica in row.get("replicas", ())]
    return {
        "name": name,
        "title": entry["title"],
        "reading": entry.get("reading", ""),
        **({"note": entry["note"]} if "note" in entry else {}),
        "paper_table": entry.get("paper"),
        "columns": columns,
        "parameters": parameters,
        "seeds": entry.get("seeds"),
        "comparisons": entry.get("comparisons", []),
        "rows": rows,
        **({"left_out": left_out} if left_out else {}),
        **resolutions(study, runs),
    } | world(study, runs, blocks, samplers)


def _samplers(study, entry, columns):
    """The study's samplers whose scores the table shows, in the order of its columns and rows."""
    names = [name for row in entry["rows"] for name in scored(columns, row) if "run" in row]
    return [name for name in dict.fromkeys(names) if name in study.spec["samplers"]]


def inputs(spec):
    """The files that a job reads, relative to the study's root, sorted, each once.

    They are Needs in a spec of table_spec or figure_spec, plain paths in a spec read from JSON."""
    files = set()

    def collect(node):
        if isinstance(node, str):
            files.add(node)
        elif isinstance(node, dict):
            for value in node.values():
                collect(value)

    for row in (*spec.get("rows", ()), *spec.get("seeded", ())):
        collect(row.get("file", {}))
        collect(row.get("parameters", {}))
        for replica in row.get("replicas", ()):
            collect(replica["files"])
    for curve in spec.get("curves", ()):
        collect(curve.get("file", {}))
        collect(curve.get("files", {}))
        for point in curve.get("points", ()):
            collect(point["files"])
    return sorted(files)
