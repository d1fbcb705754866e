"""Scores by the scorers of other projects: GenEval and DPG-Bench are not part of this project.

A score is a file scored/<study>/<run>/<step>/<benchmark>-cfg<guidance>.json, such as

    {"run": "gear-t2i", "step": "390k", "weights_sha256": "...", "guidance": 16, "score": 0.33,
     "prompts_sha256": "..."}

If the file exists when the study is read, the table's cell shows its score. Otherwise the cell
shows the paper's value alone.
"""

from pathlib import Path
from typing import Any

from gear.files.mistakes import Mistake
from gear.files.reading import read_record, required
from gear.study.needs import Elsewhere
from gear.study.specs.columns import guidance_of
from gear.study.vocabulary import METRICS

CURE = "write what the scorer gave, as gear/study/elsewhere.py shows"
KINDS = {
    "run": str,
    "step": str,
    "weights_sha256": str,
    "guidance": int | float,
    "score": int | float,
    "prompts_sha256": str,
}


def read(path):
    """{key: value} of a file of one score, with the keys of KINDS. Mistake: it is missing or of
    another form."""
    record = read_record(path, CURE)
    content: dict[str, Any] = {
        key: required(record, key, kind, path, CURE) for key, kind in KINDS.items()
    }
    return content


def files(study, checkpoint, columns, row):
    """{metric: {sampler: file}} of a checkpoint's scores whose files exist.

    columns: of the table; row: of tables.yaml. Mistake: a file is of another run, step or
    guidance."""
    found = {}
    for column in columns:
        if METRICS[column["metric"]].block != "benchmark":
            continue
        sampler = row["sampler"] if column["sampler"] is None else column["sampler"]
        guidance = guidance_of(sampler)
        file = Elsewhere(study.name, checkpoint, column["metric"], sampler, guidance)
        if not Path(file).exists():
            continue
        content = read(file)
        here = (checkpoint.run, checkpoint.milestone, guidance)
        said = (content["run"], content["step"], content["guidance"])
        if said != here:
            words = "{}@{} at guidance {:g}".format
            raise Mistake(
                f"{file} is a score of {words(*said)}, not of {words(*here)}; move it to the "
                "folder of its own run, or remove it."
            )
        found.setdefault(column["metric"], {})[sampler] = file
    return found


def score(path, weights):
    """(the score, the hash of its prompts) of a file.

    weights: sha256 of the run's weights, or None if its record states none. Mistake: the pictures
    were drawn with other weights."""
    content = read(path)
    if weights and content["weights_sha256"] != weights:
        raise Mistake(
            f"{path} is a score of weights with sha256 {content['weights_sha256'][:8]}..., but "
            f"{content['run']}@{content['step']} has {weights[:8]}...; score its pictures again."
        )
    return float(content["score"]), content["prompts_sha256"]
