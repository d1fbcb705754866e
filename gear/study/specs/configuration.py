"""The spec of a table of settings: the paper's beside those that a run resolves to.

It reads no file, because a study's settings are known before anything is trained.
"""

import re
from dataclasses import asdict

from gear import config
from gear.files.mistakes import Mistake, did_you_mean
from gear.study.published import published_row
from gear.study.specs.world import named, pick, shows_paper, world

UNITS = {"k": 1e3, "M": 1e6}
ABOUT = 0.01  # share by which ours may differ from a number that the paper writes with ~


def _tokenizer(study, run):
    kind = run.settings.tokenizer
    return f"{kind.quantizer.upper()}-{kind.downsampling}, frozen"


def _tuned(study, run):
    """How the frozen tokenizer was trained."""
    source = study.runs[run.tokenizer.run]
    if source.stage == "tokenizer":
        return "warm-up"
    return "warm-up, then end to end" if source.tokenizer else "end to end"


def _schedule(study, run):
    steps = run.settings.optim.warmup
    return f"constant after {steps} steps of warm-up" if steps else "constant"


def _epochs(study, run):
    stated = study.spec.get("captions" if run.settings.reads_text else "data", {})
    images = stated.get("train")
    return _seen(study, run) / images if images else ""


def _seen(study, run):
    return list(run.steps.values())[-1] * run.settings.optim.batch


DERIVED = {  # settings that gear/config.py does not state: {name: function of (study, run)}
    "tokenizer": _tokenizer,
    "tokenizer training": _tuned,
    "AR model": lambda study, run: f"LlamaGen-{run.settings.ar.size.upper()}",
    "AR initialisation": lambda study, run: "from scratch",  # a stage draws its AR's weights
    "text encoder": lambda study, run: study.spec["text_encoder"]["label"],
    "teacher": lambda study, run: study.spec["teachers"][run.settings.align.teacher]["label"],
    "attention": lambda study, run: "causal",  # the network has no other
    "schedule": _schedule,
    "optimizer": lambda study, run: "AdamW",
    "steps": lambda study, run: list(run.steps.values())[-1],
    "images seen": _seen,
    "epochs": _epochs,
}


def _words(value):
    """A setting as the table prints it, such as 0.0001, on, or '0.9, 0.999'."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return f"{value:.10g}" if isinstance(value, int | float) else str(value)


def _number(text):
    """(a number such as 256, ~390k or 1.0; whether it is stated roughly), or (None, False)."""
    found = re.fullmatch(r"(~?)([0-9.]+)([kM]?)", text)
    if not found:
        return None, False
    return float(found[2]) * UNITS.get(found[3], 1), bool(found[1])


def same(ours, paper):
    """Whether our setting is the paper's. Numbers compare by value. A name may have a suffix: ours
    'DINOv2-B' is the paper's 'DINOv2'."""
    (mine, _), (theirs, rough) = _number(ours), _number(paper)
    if mine is not None and theirs is not None:
        return abs(mine - theirs) <= (ABOUT * theirs if rough else 0)
    return ours == paper or ours.startswith(f"{paper}-")


def _ours(study, run, sampler, setting, where):
    """Our setting in words. Mistake: there is no such setting."""
    if setting in DERIVED:
        return _words(DERIVED[setting](study, run))
    flat = config.flatten(asdict(run.settings)) | {f"sampler.{k}": v for k, v in sampler.items()}
    if setting not in flat:
        cure = did_you_mean(setting, [*DERIVED, *flat])
        raise Mistake(f"{where}: there is no setting '{setting}'. {cure}")
    return _words(flat[setting])


def configuration_spec(study, name):
    """All that the table's job needs, as data for JSON. Mistake: a name does not exist."""
    entry, where = pick(study, "table", name), f"tables.yaml, {name}"
    checkpoint = study.at(entry["run"], where)
    run, rows = study.runs[checkpoint.run], []
    defaults = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "precision": "fp32"}
    sampler = defaults | study.sampler(entry["sampler"], where)
    for row in entry["rows"]:
        ours = _ours(study, run, sampler, row["setting"], where)
        line = {"row": row["row"], "source": "trained", "ours": ours, "paper": {}}
        if "paper" in row and shows_paper(study):
            printed = published_row(study, entry["paper"], row["paper"], where)
            ((_, protocol, value),) = printed["setting"]
            line["paper"] = {"0": {"value": value, "protocol": protocol}}
            line["same"] = same(ours, value)
        rows.append(line)
    compared = [row["same"] for row in rows if "same" in row]
    return {
        "name": name,
        "kind": "configuration",
        "title": entry["title"],
        "reading": entry.get("reading", ""),
        **({"note": entry["note"]} if "note" in entry else {}),
        "paper_table": entry.get("paper") if shows_paper(study) else None,
        "of": named(study, checkpoint),
        "columns": [],
        "comparisons": [],
        "rows": rows,
        "printed": len(compared),  # settings that the paper prints
        "same": sum(compared),  # those of them that are ours
    } | world(study, [checkpoint.run], set(), [])
