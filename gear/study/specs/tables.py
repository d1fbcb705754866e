"""The spec of a table or figure: everything that its job shows, and nothing else.

`table_spec` and `figure_spec` look up runs, steps, file names (relative to the study's root) and
published values. So a job does not read config/, and a change elsewhere re-runs nothing. Snakemake
imports this module at each start, so it must not import torch.
"""

from gear.files.mistakes import Mistake, did_you_mean
from gear.study.needs import Need
from gear.study.published import published_row
from gear.study.specs.figure import figure_spec
from gear.study.specs.world import (
    named,
    pick,
    protocol_name,
    resolutions,
    shows_paper,
    world,
)
from gear.study.stages import STAGES
from gear.study.vocabulary import ANALYSED, metric

__all__ = ["figure_spec", "inputs", "table_spec"]


def _replica(study, checkpoint, samplers, blocks):
    """One trained model of a row, with the files that hold its numbers."""
    source, files = study.tokenizer_of(checkpoint), {}
    if blocks - ANALYSED:
        files["tokenizer"] = Need("validation", source)
    if "similarity" in blocks:
        files["similarity"] = Need("analysis", source)
    if STAGES[checkpoint.stage].has_ar:
        files["generation"] = {s: Need("scores", checkpoint, s) for s in samplers}
        if "likelihood" in blocks:
            files["likelihood"] = Need("validation", checkpoint)
        if "states" in blocks:
            files["states"] = Need("analysis", checkpoint)
    seed = study.runs[checkpoint.run].settings.seed
    return {"run": checkpoint.run, "seed": seed, "files": files}


def _columns(study, entry, where):
    """The columns: metrics of generation once for each sampler, other metrics once.

    A column's `sampler` is '' for other metrics, and None where each row names its own sampler.
    Mistake: rows and table both name samplers, or nobody names one."""
    blocks = {key: metric(key, where).block for key in entry["metrics"]}
    own = [row["row"] for row in entry["rows"] if "sampler" in row]
    if own and entry["samplers"]:
        raise Mistake(f"{where}: row '{own[0]}' has its own sampler; set samplers: [].")
    samplers = entry["samplers"] or ([None] if own else [])
    if "generation" in blocks.values() and not samplers:
        raise Mistake(f"{where}: its metrics need samples; name samplers, as in [plain].")

    def column(key, sampler):
        return {"metric": key, "sampler": sampler, "protocol": protocol_name(study, blocks[key])}

    generation = [k for k in blocks if blocks[k] == "generation"]
    if len(samplers) > 1:
        others = [k for k in blocks if k not in generation]
        pairs = [(k, s) for s in samplers for k in generation] + [(k, "") for k in others]
    else:
        pairs = [(k, samplers[0] if k in generation else "") for k in blocks]
    return [column(*pair) for pair in pairs]


def _samplers(study, entry, where):
    """The samplers that the table names, each once. Mistake: the study has no such sampler."""
    names = [*entry["samplers"], *(row["sampler"] for row in entry["rows"] if "sampler" in row)]
    for name in names:
        study.sampler(name, where)
    return list(dict.fromkeys(names))


def _parameters(study, checkpoints, columns):
    """The network whose parameters the table shows: 'ar', 'tokenizer' or None.

    'ar' where the ARs of the rows differ; 'tokenizer' in a table of reconstructions only."""
    runs = [study.runs[checkpoint.run] for checkpoint in checkpoints]
    blocks = {metric(c["metric"], "").block for c in columns}
    if "generation" not in blocks:
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
    cells = {}
    for position, column in enumerate(columns):
        for sampler, protocol, value in published.get(column["metric"], ()):
            # a row with its own sampler: the paper gives it another sampler name
            if sampler == column["sampler"] or (column["sampler"] is None and sampler):
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
    samplers = [row["sampler"]] if "sampler" in row else entry["samplers"]
    blocks = {metric(c["metric"], where).block for c in columns}
    if "generation" not in blocks:
        samplers = []
    runs = study.replicas(checkpoint.run) if "seeds" in entry else [checkpoint.run]
    replicas = [study.checkpoint(run, checkpoint.milestone, where) for run in runs]
    line |= named(study, checkpoint) | {
        "baseline": row.get("baseline"),
        "default": row["row"] == entry.get("default"),
        "replicas": [_replica(study, each, samplers, blocks) for each in replicas],
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
    if not shows_paper(study):  # without the rows that are the paper's alone
        entry = entry | {"rows": [row for row in entry["rows"] if "run" in row], "paper": None}
    columns = _columns(study, entry, where)
    shown = [study.at(row["run"], where) for row in entry["rows"] if "run" in row]
    samplers = _samplers(study, entry, where)
    parameters = _parameters(study, shown, columns)
    rows = [_row(study, entry, row, columns, parameters, where) for row in entry["rows"]]
    _check_names(entry, rows, where)
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
        **resolutions(study, runs),
    } | world(study, runs, blocks, samplers if "generation" in blocks else [])


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
        for point in curve.get("points", ()):
            collect(point["files"])
    return sorted(files)
