"""What each job of the workflow receives: one line of JSON that holds all that could change its
result, and nothing else, so that Snakemake re-runs exactly what a changed setting concerns."""

import json
import shlex

from gear import config
from gear.files.hashes import code_hash
from gear.study.stages import STAGES

# The code that can change what a rule makes, beside the settings. A change of it plans the rule
# anew, with what was made from its outputs; comments, docstrings and formatting are free. Trainings
# have none: a training is repeated where its settings change, and its record names the commit.
NETWORKS = (
    *(f"gear/tokenizer/{name}.py" for name in ("autoencoder", "vqgan", "magvit2")),
    *(f"gear/tokenizer/{name}.py" for name in ("assignment", "quantized", "vq", "lfq", "ibq")),
    *("gear/ar/transformer.py", "gear/ar/condition.py"),
)
IMAGES = tuple(f"gear/data/{name}.py" for name in ("transforms", "memory", "folder", "stream"))
CODE = {
    "samples": (
        *("gear/ar/transformer.py", "gear/ar/condition.py"),
        *("gear/sampling/generate.py", "gear/runtime/rng.py"),
    ),
    "scores": (
        *("gear/features/*.py", "gear/metrics/*.py", "gear/evaluation/*.py"),
        *("gear/sampling/*.py", "gear/tokenizer/codebook.py"),
        *("gear/alignment/*.py", "gear/alignment/teachers/*.py", "gear/runtime/rng.py"),
        *NETWORKS,
        *IMAGES,
    ),
    "analyses": (
        *("gear/analysis/*.py", "gear/alignment/*.py", "gear/alignment/teachers/*.py"),
        *NETWORKS,
        *IMAGES,
    ),
    "report": ("gear/report/**/*.py", "gear/study/vocabulary.py"),
}


def code(kind):
    """{kind: hash} of the code of one kind of CODE: a rule's param, which names what it is of."""
    return {kind: code_hash(CODE[kind])}


RULES = (  # whose jobs ask for what a study's `jobs` says; the others run where Snakemake does
    "prepare_data",
    "train_teacher",
    "import_teacher",
    "train_features",
    "import_features",
    "import_public",
    *(f"train_{stage}" for stage in STAGES),
    "evaluate",
    "draw",
    "score",
    "decode_samples",
    "analyse",
)


class Line(str):
    """What a job receives, as one line of JSON, without what Snakemake is to compare it by: its
    records hold the repr of a param, and this one's leaves out the settings that change no result
    (config.FREE), so that an edit of them re-runs nothing."""

    def __repr__(self):
        content = json.loads(self)
        kept = {k: v for k, v in content.get("settings", {}).items() if k not in config.FREE}
        return repr(_dumps(content | {"settings": kept} if "settings" in content else content))


def _dumps(content):
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def line(content):
    """Compact JSON with sorted keys."""
    return Line(_dumps(content))


def difference(settings, *sections):
    """What differs from the defaults; of the named sections only, if any are."""
    found = json.loads(config.dumps(settings))
    return {k: v for k, v in found.items() if not sections or k.split(".")[0] in sections}


def of_settings(settings, *sections, **more):
    """The line of a job that has settings. It holds the number of the defaults that they differ
    from, so that a changed default plans the job anew."""
    differs = difference(settings, *sections)
    return line({"settings": differs, "defaults": config.DEFAULTS, **more})


def needs(study, rule):
    """What a job of a rule asks SLURM for, as Snakemake's resources: the study's `jobs`, whose
    numbers are of one node. A study without them leaves all to the profile's defaults."""
    assert rule in RULES, rule
    spec = study.spec.get("jobs", {}).get(rule, {})
    nodes, gpus = spec.get("nodes", 1), spec.get("gpus", 0)
    found = {"nodes": nodes, "processes": spec.get("processes", 0 if gpus else 1)}
    found |= {"cpus_per_task": spec.get("cpus", 1), "gpus_per_node": gpus}
    if "mem_gb" in spec:
        found["mem_mb"] = 1000 * spec["mem_gb"]
    if "minutes" in spec:
        found["runtime"] = spec["minutes"]
    if nodes > 1:  # Snakemake starts no step of its own: gear.launch does, a task on each node
        found |= {"mpi": "srun", "tasks": nodes}
        found |= {"slurm_extra": f"'--gpus-per-node={gpus}'"} if gpus else {}
    elif gpus:
        found["gpu"] = gpus
    return found


def rules(study):
    """The names of the rules, of RULES, that a study has."""
    kinds = teachers_by_kind(study)
    absent = {
        "train_teacher": not kinds["standin"],
        "import_teacher": not kinds["pretrained"],
        "train_features": study.spec["features"]["kind"] != "standin",
        "import_features": study.spec["features"]["kind"] == "standin",
        "import_public": "public" not in study.spec,
        "draw": study.spec["together"],
        "score": study.spec["together"],
        "analyse": not analyses(study),
    }
    return [rule for rule in RULES if not absent.get(rule)]


def _any(study):
    """Settings that are the study's, whatever the run."""
    return next(iter(study.runs.values())).settings


def made_images(study):
    """{folder: pixels} of the images that a study makes: one folder for each resolution."""
    found = (run.settings.data for run in study.runs.values())
    return {data.path: data.resolution for data in found}


def training(study, name, milestone):
    """A segment of a run: from the milestone before to this one, in optimizer steps."""
    run = study.runs[study.checkpoint(name, milestone).run]
    before = run.previous(milestone)
    start = run.steps[before] if before else 0
    return of_settings(run.settings, start=start, stop=run.steps[milestone])


def public(study, quantizer):
    """The import of public weights that a tokenizer starts from."""
    settings = difference(study.network(quantizer))
    wanted = ("tokenizer.", "data.channels", "data.resolution", "loss.disc_")
    settings = {k: v for k, v in settings.items() if k.startswith(wanted)}
    content = {"quantizer": quantizer, "settings": settings, "defaults": config.DEFAULTS}
    return line(content | study.spec["public"][quantizer])


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
    return of_settings(_any(study), "data", "tokenizer", "runtime", spec=spec)


def features(study):
    """The stand-in feature network's training, or the import of Inception's and its reference."""
    spec = study.spec["features"]
    if spec["kind"] == "inception":
        return line({"spec": spec, "protocol": study.spec["protocols"]["generation"]["name"]})
    return of_settings(_any(study), "data", "runtime", spec=spec)


def drawing(study, name, sampler):
    """The samples of one sampler."""
    return of_settings(study.runs[name].settings, "runtime", sampler=study.sampler(sampler))


def scoring(study, name):
    """The scores of one sampler's samples."""
    protocol = study.spec["protocols"]["generation"]
    return of_settings(study.runs[name].settings, "runtime", protocol=protocol)


def picking(study, name):
    """The pictures of some of a sampler's images."""
    return of_settings(study.runs[name].settings, "runtime", classes=study.data.classes)


def evaluation(study, name, samplers=()):
    """Validation and pictures of a checkpoint, and the samples and scores of `samplers`."""
    return of_settings(
        study.runs[name].settings,
        *("data", "tokenizer", "joint", "runtime"),
        samplers={s: study.sampler(s) for s in samplers},
        **study.spec["protocols"],
    )


def _options(paths):
    """{'name': path} as options of a shell's command line."""
    return " ".join(f"--{name} {shlex.quote(path)}" for name, path in paths.items())


def _teacher(study, run):
    return f"{study.root}/teacher/{run.settings.align.teacher}"


def evaluation_options(study, checkpoint):
    """Where an evaluation finds its weights and puts its results, as options, quoted."""
    options = {
        "checkpoint": study.path(checkpoint),
        "tokenizer": study.path(study.tokenizer_of(checkpoint)),
        "features": f"{study.root}/features",
        "samples": study.path(checkpoint, "samples"),
        "metrics": study.path(checkpoint, "metrics"),
    }
    if STAGES[checkpoint.stage].aligns:
        options["teacher"] = _teacher(study, study.runs[checkpoint.run])
    return _options(options)


def analyses(study):
    """The checkpoints whose features are compared with their teacher's."""
    return [need.checkpoint for need in study.needs if need.kind == "analysis"]


def analysis(study, name):
    """The comparison of a checkpoint's features with its teacher's."""
    settings, spec = study.runs[name].settings, study.spec["analysis"]
    return of_settings(settings, "data", "tokenizer", "runtime", analysis=spec)


def analysis_options(study, checkpoint):
    """Where an analysis finds its weights, as options, quoted."""
    options = {
        "checkpoint": study.path(checkpoint),
        "tokenizer": study.path(study.tokenizer_of(checkpoint)),
        "teacher": _teacher(study, study.runs[checkpoint.run]),
    }
    return _options(options)


def evaluations(study):
    """{checkpoint: samplers} that are evaluated; () is validation and pictures alone."""
    samplers = {}
    for need in study.needs:
        if need.kind in ("validation", "pictures", "scores", "decoded"):
            samplers.setdefault(need.checkpoint, set()).add(need.sampler)
    order = study.spec["samplers"]
    return {key: tuple(s for s in order if s in asked) for key, asked in samplers.items()}


def evaluation_groups(study):
    """{samplers: checkpoints}: those that are asked for the same samplers."""
    groups = {}
    for checkpoint, samplers in evaluations(study).items():
        groups.setdefault(samplers, []).append(checkpoint)
    return groups
