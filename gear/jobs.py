"""What each job of the workflow receives: one line of JSON that holds all that could change its
result, and nothing else, so that Snakemake re-runs exactly what a changed setting concerns."""

import json

from gear import config


def line(content):
    """Compact JSON with sorted keys."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def difference(settings, *sections):
    """What differs from the defaults; of the named sections only, if any are."""
    found = json.loads(config.dumps(settings))
    return {k: v for k, v in found.items() if not sections or k.split(".")[0] in sections}


def _any(study):
    """Settings that are the study's, whatever the run."""
    return next(iter(study.runs.values())).settings


def training(study, name, step):
    """A segment of a run: from the milestone before `step` to `step`, in optimizer steps."""
    run = study.checkpoint(name, step)
    before = run.previous(step)
    start = run.steps[before] if before else 0
    return line({"settings": difference(run.settings), "start": start, "stop": run.steps[step]})


def public(study, quantizer):
    """The import of public weights that a tokenizer starts from."""
    settings = difference(study.network(quantizer))
    wanted = ("tokenizer.", "data.channels", "data.resolution", "loss.disc_")
    settings = {k: v for k, v in settings.items() if k.startswith(wanted)}
    return line({"quantizer": quantizer, "settings": settings, **study.spec["public"][quantizer]})


def teachers_by_kind(study):
    """{'standin': names of the teachers that are trained, 'pretrained': that are imported}."""
    found = {"standin": [], "pretrained": []}
    for name, spec in study.spec["teachers"].items():
        found[spec["kind"]].append(name)
    return found


def teacher(study, name):
    """The teacher that a study trains or imports. A pretrained one is set up for a run's resolution
    when the run loads it, so that its import needs no settings."""
    spec = study.spec["teachers"][name]
    if spec["kind"] == "pretrained":
        return line({"spec": spec})
    settings = difference(_any(study), "data", "tokenizer", "runtime")
    return line({"settings": settings, "spec": spec})


def features(study):
    """The stand-in feature network's training, or the import of Inception's and its reference."""
    spec = study.spec["features"]
    if spec["kind"] == "inception":
        return line({"spec": spec, "protocol": study.spec["protocols"]["generation"]["name"]})
    settings = difference(_any(study), "data", "runtime")
    return line({"settings": settings, "spec": spec})


def drawing(study, name, sampler):
    """The samples of one sampler."""
    settings = difference(study.runs[name].settings, "runtime")
    return line({"settings": settings, "sampler": study.sampler(sampler)})


def scoring(study, name):
    """The scores of one sampler's samples."""
    settings = difference(study.runs[name].settings, "runtime")
    return line({"settings": settings, "protocol": study.spec["protocols"]["generation"]})


def evaluation(study, name, samplers=()):
    """Validation and pictures of a checkpoint, and the samples and scores of `samplers`."""
    settings = difference(study.runs[name].settings, "data", "tokenizer", "joint", "runtime")
    return line(
        {
            "settings": settings,
            "samplers": {s: study.sampler(s) for s in samplers},
            **study.spec["protocols"],
        }
    )


def evaluation_options(study, name, step):
    """Where an evaluation finds its weights and puts its results, as command-line options."""
    own, source = study.path(name, step), study.path(*study.tokenizer_of(name, step))
    options = {
        "checkpoint": own,
        "tokenizer": source,
        "features": f"{study.root}/features",
        "samples": study.path(name, step, "samples"),
        "metrics": study.path(name, step, "metrics"),
    }
    run = study.runs[name]
    if run.stage != "tokenizer":
        options["teacher"] = f"{study.root}/teacher/{run.settings.align.teacher}"
    return " ".join(f"--{key} {value}" for key, value in options.items())


def evaluation_groups(study):
    """{samplers: ['joint/gear-l/400k', ...]}: checkpoints that are asked for the same samplers."""
    groups = {}
    for (run, step), samplers in study.evaluations().items():
        groups.setdefault(samplers, []).append(f"{study.runs[run].stage}/{run}/{step}")
    return groups
