"""The part that all specs share: the study's protocols, samplers, features and teachers."""

from gear.files.mistakes import Mistake, did_you_mean
from gear.study.stages import STAGES
from gear.study.vocabulary import ANALYSED

PROTOCOLS = {"generation": "generation", "validation": "reconstruction", "text": "gpic"}
PROTOCOL_KEYS = ("images", "neighbours", "prdc_images", "split_size")
SAMPLER_KEYS = (
    *("images", "guidance", "temperature", "top_k", "top_p"),
    *("labels", "prompts", "precision"),
)


def pick(study, kind, name):
    entries = getattr(study, f"{kind}s")
    if name not in entries:
        raise Mistake(
            f"study '{study.name}' makes no {kind} '{name}'. {did_you_mean(name, entries)}"
        )
    return entries[name]


def shows_paper(study):
    """Whether a study's tables and figures print the paper's values, which are of ImageNet."""
    return study.spec.get("compares_with_paper", False) or study.spec.get("shows_paper", False)


def protocol_name(study, block):
    """The name of the protocol of a metric's block, as in the CSV files."""
    protocols = study.spec["protocols"]
    if block == "generation":
        return protocols["generation"]["name"]
    if block == "reconstruction":
        return protocols["validation"]["name"]
    if block == "gpic":
        return protocols.get("text", {}).get("name", "fdd")
    return "" if block == "parameters" else block


def lpips_weights(study, runs):
    """The weights of LPIPS, sorted, with which the tokenizers of runs were trained: those that a
    run trains, starts from or freezes. [] where none was trained with LPIPS."""
    weights, todo = set(), list(runs)
    while todo:
        run = study.runs[todo.pop()]
        if STAGES[run.stage].owns_tokenizer:
            weights.add(run.settings.loss.lpips)
        todo += [run.tokenizer.run] if run.tokenizer else []
    return sorted(weights) if any(weights) else []


def world(study, runs, blocks, samplers):
    """The data for captions: the protocols, samplers, features and teachers in use."""
    spec = study.spec
    kinds = [kind for kind, block in PROTOCOLS.items() if block in blocks]
    if any("prompts" in spec["samplers"][s] for s in samplers):  # their precision is of gpic
        kinds = [k for k in kinds if k != "generation"] + ["text"] * ("text" not in kinds)
    protocols = {
        kind: {"name": spec["protocols"][kind]["name"]}
        | {k: spec["protocols"][kind][k] for k in PROTOCOL_KEYS if k in spec["protocols"][kind]}
        for kind in kinds
    }
    teachers = {}
    for run in (study.runs[r] for r in runs):
        name = run.settings.align.teacher
        if STAGES[run.stage].aligns and name in spec.get("teachers", {}):
            teachers[name] = {k: spec["teachers"][name].get(k) for k in ("kind", "label")}
    features = {k: spec["features"].get(k) for k in ("kind", "label")}
    own = "text" in protocols and spec.get("text_features")
    if not protocols or (own and set(protocols) == {"text"}):
        features = None
    compared = bool(ANALYSED & set(blocks))
    if compared and "analysis" not in spec:
        raise Mistake(
            f"studies/{study.name}.yaml has no `analysis`, which CKA and CKNNA need; copy it from "
            "studies/demo.yaml."
        )
    choices = {"analysis": spec["analysis"]} if compared else {}
    if weights := lpips_weights(study, runs):
        choices["lpips"] = weights
    if own:
        choices["text_features"] = own["label"]
    if any(study.runs[run].settings.reads_text for run in runs):
        choices["text_encoder"] = spec["text_encoder"]["label"]
    return choices | {
        "study": study.name,
        "world": spec["title"],
        "compares_with_paper": spec.get("compares_with_paper", False),
        "protocols": protocols,
        "samplers": {
            s: {k: v for k, v in spec["samplers"][s].items() if k in SAMPLER_KEYS} for s in samplers
        },
        "features": features,
        "teachers": {k: teachers[k] for k in sorted(teachers)},
    }


def resolutions(study, runs):
    """The resolutions of images and of scores; {} where all runs have the same."""
    pixels = {r: study.runs[r].settings.data.resolution for r in runs}
    several = len(set(pixels.values())) > 1
    return {"resolutions": {"images": pixels, "scored": study.data.resolution}} if several else {}


def named(study, checkpoint):
    """{stage, run, step, steps}: the name of a checkpoint in a spec."""
    return {
        "stage": checkpoint.stage,
        "run": checkpoint.run,
        "step": checkpoint.milestone,
        "steps": study.runs[checkpoint.run].steps[checkpoint.milestone],
    }
