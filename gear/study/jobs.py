"""One line of JSON for each job of the workflow.

The line holds everything that could change the job's result and nothing else. So Snakemake re-runs
exactly the jobs that a changed setting affects.
"""

import contextlib
import json
import shlex
from pathlib import Path

from gear import config
from gear.files.aside import write
from gear.files.hashes import code_hash, text_hash
from gear.files.mistakes import Mistake
from gear.study.stages import STAGES
from gear.t2i.text_folder import MODULES

# The code that can change the outputs of a rule, in addition to the settings. A change of this code
# re-runs the rule and everything downstream. Comments, docstrings and formatting do not count.
# Trainings have no such list: only changed settings repeat a training. Its record names the commit.
NETWORKS = (
    *(f"gear/tokenizer/{name}.py" for name in ("autoencoder", "vqgan", "magvit2")),
    *(f"gear/tokenizer/{name}.py" for name in ("assignment", "quantized", "vq", "lfq", "ibq")),
    *("gear/ar/transformer.py", "gear/ar/condition.py"),
)
IMAGE_MODULES = ("transforms", "memory", "folder", "stream", "finding")
IMAGES = tuple(f"gear/data/{name}.py" for name in IMAGE_MODULES)
CODE = {
    "samples": (
        *("gear/ar/transformer.py", "gear/ar/condition.py"),
        *("gear/sampling/generate.py", "gear/sampling/conditions.py", "gear/runtime/rng.py"),
        *(f"gear/sampling/{name}.py" for name in ("inference", "steps", "replay")),
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
    "captions": (  # besides, where a checkpoint reads captions
        *("gear/t2i/transformer.py", "gear/t2i/text.py", "gear/t2i/prompts.py"),
        *("gear/t2i/shown.py", "gear/data/captions.py", "gear/data/shards.py"),
        *("gear/data/tars.py", "gear/data/index.py", "gear/data/decode.py"),
    ),
    "report": ("gear/report/**/*.py", "gear/study/vocabulary.py"),
}


def code(kind, kept=None):
    """{kind: hash} of the code of one kind of CODE, as a rule's param.

    kept: {kind: [hash of the text, hash of the code]}, which is used and brought up to date."""
    if kept is None:
        return {kind: code_hash(CODE[kind])}
    text = text_hash((*CODE[kind], "gear/files/hashes.py"))
    if kept.get(kind, [None])[0] != text:
        kept[kind] = [text, code_hash(CODE[kind])]
    return {kind: kept[kind][1]}


def codes(file):
    """The `code` of all kinds. `file` keeps the hashes: each start of Snakemake asks for them, and
    they take a quarter of a second."""
    kept = {}
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a damaged file is made again
        found = json.loads(Path(file).read_text("utf-8")).items()
        kept = {k: v for k, v in found if isinstance(v, list) and len(v) == 2}
    before = dict(kept)
    found = [code(kind, kept) for kind in CODE]
    if kept != before:
        with contextlib.suppress(OSError, Mistake):
            write(file, json.dumps(kept))
    return found


RULES = (  # rules whose resources a study's `jobs` sets; all other rules run beside Snakemake
    "prepare_data",
    "train_teacher",
    "import_teacher",
    "train_features",
    "import_features",
    "import_public",
    "make_shards",
    "prepare_captions",
    "make_text_encoder",
    "import_text_encoder",
    "import_text_features",
    *(f"train_{stage}" for stage in STAGES),
    "evaluate",
    "draw",
    "score",
    "score_coco",
    "decode_samples",
    "analyse",
)


class Line(str):
    """One line of JSON for a job.

    Snakemake stores the `repr` of a param and compares that. So `__repr__` leaves out the settings
    in config.FREE, which change no result: editing them re-runs nothing."""

    def __repr__(self):
        content = json.loads(self)
        if "settings" in content:
            settings = content["settings"].items()
            content["settings"] = {k: v for k, v in settings if k not in config.FREE}
        return repr(_dumps(content))


def _dumps(content):
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def line(content):
    """Compact JSON with sorted keys."""
    return Line(_dumps(content))


def difference(settings, *sections):
    """{dotted name: value} of the settings that differ from the defaults.

    sections: names such as `data`; if there are any, settings of other sections are left out."""
    values = json.loads(config.dumps(settings))
    return {k: v for k, v in values.items() if not sections or k.split(".")[0] in sections}


def of_settings(settings, *sections, **more):
    """The line of a job that has settings.

    It includes config.DEFAULTS, the version of the defaults: a new version re-runs the job."""
    changed = difference(settings, *sections)
    return line({"settings": changed, "defaults": config.DEFAULTS, **more})


def needs(study, rule):
    """The resources of one job of a rule, as Snakemake's resources.

    They come from the study's `jobs`, whose numbers are for one node. Where the study sets nothing,
    the profile's defaults hold."""
    assert rule in RULES, rule
    spec = study.spec.get("jobs", {}).get(rule, {})
    nodes, gpus = spec.get("nodes", 1), spec.get("gpus", 0)
    resources = {"nodes": nodes, "processes": spec.get("processes", 0 if gpus else 1)}
    resources |= {"cpus_per_task": spec.get("cpus", 1), "gpus_per_node": gpus}
    if "mem_gb" in spec:
        resources["mem_mb"] = 1000 * spec["mem_gb"]
    if "minutes" in spec:
        resources["runtime"] = spec["minutes"]
    if nodes > 1:  # Snakemake starts no srun step; gear.launch starts one task on each node
        resources |= {"mpi": "srun", "tasks": nodes}
        if gpus:
            resources["slurm_extra"] = f"'--gpus-per-node={gpus}'"
    elif gpus:
        resources["gpu"] = gpus
    return resources


def rules(study):
    """The names of those RULES that a study has."""
    kinds = teachers_by_kind(study)
    absent = {
        "train_teacher": not kinds["standin"],
        "import_teacher": not kinds["pretrained"],
        "train_features": study.spec["features"]["kind"] != "standin",
        "import_features": study.spec["features"]["kind"] == "standin",
        "import_public": "public" not in study.spec,
        "make_shards": not (study.captioned and study.makes_data),
        "prepare_captions": not study.captioned,
        "make_text_encoder": encoder_kind(study) != "standin",
        "import_text_encoder": encoder_kind(study) != "pretrained",
        "import_text_features": not (study.captioned and "text_features" in study.spec),
        **{f"train_{name}": name not in study.stages for name in STAGES},
        "draw": study.spec["together"],
        "score": study.spec["together"],
        "score_coco": study.spec["together"] or not coco_samplers(study),
        "analyse": not analyses(study),
    }
    return [rule for rule in RULES if not absent.get(rule)]


def _any(study):
    """The settings of any run, for values that all runs of a study share."""
    return next(iter(study.runs.values())).settings


def made_images(study):
    """{folder: pixels} of the images that a study makes: one folder for each resolution."""
    sets = (run.settings.data for run in study.runs.values() if not run.settings.reads_text)
    return {data.path: data.resolution for data in sets}


def encoder_kind(study):
    """standin | pretrained: of the text encoder; None where no run reads captions."""
    return study.spec["text_encoder"]["kind"] if study.captioned else None


def imports(study):
    """Modules that the jobs of a study import besides torch, which takes seconds."""
    return MODULES if study.captioned else ()


def captions(study):
    """Options of the index of the shards: the numbers of samples that they must hold."""
    spec = study.spec.get("captions", {})
    return " ".join(f"--{split} {spec[split]}" for split in ("train", "val") if split in spec)


def text_encoder(study):
    """The line of the making or the import of the text encoder."""
    text = next(run.settings.text for run in study.runs.values() if run.settings.reads_text)
    return line({"spec": study.spec["text_encoder"], "text": vars(text)})


def text_features(study):
    """The line of the import of the features that samples of captions are scored on."""
    name = study.spec["protocols"]["text"]["name"]
    return line({"spec": study.spec["text_features"], "protocol": name})


def counts(study):
    """Options of the listing of a folder: the numbers of images, and the share split off as val."""
    spec = study.spec["data"]
    words = [f"--{split} {spec[split]}" for split in ("train", "val") if split in spec]
    if "val_share" in spec:
        words.append(f"--val-share {spec['val_share']} --seed {spec.get('seed', 0)}")
    return " ".join(words)


def training(study, name, milestone):
    """The line of one segment of a training: from the previous milestone to this one."""
    run = study.runs[study.checkpoint(name, milestone).run]
    before = run.previous(milestone)
    start = run.steps[before] if before else 0
    return of_settings(run.settings, start=start, stop=run.steps[milestone])


def public(study, quantizer):
    """The line of the import of public weights that a tokenizer starts from."""
    settings = difference(study.network(quantizer))
    prefixes = ("tokenizer.", "data.channels", "data.resolution", "loss.disc_")
    settings = {k: v for k, v in settings.items() if k.startswith(prefixes)}
    content = {"quantizer": quantizer, "settings": settings, "defaults": config.DEFAULTS}
    return line(content | study.spec["public"][quantizer])


def teachers_by_kind(study):
    """{'standin': names of trained teachers, 'pretrained': names of imported teachers}."""
    kinds = {"standin": [], "pretrained": []}
    for name, spec in study.spec["teachers"].items():
        kinds[spec["kind"]].append(name)
    return kinds


def teacher(study, name):
    """The line of the training or import of a teacher.

    An import needs no settings: a run adapts the teacher to its resolution when it loads it."""
    spec = study.spec["teachers"][name]
    if spec["kind"] == "pretrained":
        return line({"spec": spec})
    return of_settings(_any(study), "data", "tokenizer", "runtime", spec=spec)


def features(study):
    """The line of the training of the stand-in features, or of the import of Inception."""
    spec = study.spec["features"]
    if spec["kind"] == "inception":
        return line({"spec": spec, "protocol": study.spec["protocols"]["generation"]["name"]})
    return of_settings(_any(study), "data", "runtime", spec=spec)


def drawing(study, name, sampler):
    """The line of the drawing of one sampler's samples."""
    chosen = study.sampler(sampler)
    more = {"prompts": study.prompts(chosen["prompts"])} if "prompts" in chosen else {}
    return of_settings(study.runs[name].settings, "runtime", sampler=chosen, **more)


def drawing_options(study, checkpoint):
    """Options that name the inputs of a drawing, quoted for a shell."""
    options = {"checkpoint": study.path(checkpoint)}
    if STAGES[checkpoint.stage].reads_text:
        options |= {"encoder": f"{study.root}/text_encoder"}
        options |= {"data": study.manifest(checkpoint.run)}
    return _options(options)


def scoring(study, name):
    """The line of the scoring of one sampler's samples."""
    settings = study.runs[name].settings
    protocol = study.spec["protocols"]["text" if settings.reads_text else "generation"]
    return of_settings(settings, "runtime", protocol=protocol)


def coco_samplers(study):
    """The samplers whose captions are COCO's, scored by FID and the CLIP score."""
    prompts = study.spec.get("prompts", {})
    coco = [name for name, entry in prompts.items() if entry.get("protocol") == "coco"]
    return [name for name, s in study.spec["samplers"].items() if s.get("prompts") in coco]


def scoring_coco(study, name, sampler):
    """The line of the scoring of pictures of COCO's captions."""
    prompts = study.prompts(study.sampler(sampler)["prompts"])
    spec = study.spec["protocols"]["coco"]
    return of_settings(study.runs[name].settings, "runtime", spec=spec, prompts=prompts)


def picking(study, name):
    """The line of the decoding of some of a sampler's samples."""
    return of_settings(study.runs[name].settings, "runtime", classes=study.data.classes)


def evaluation(study, name, samplers=()):
    """The line of a checkpoint's validation and pictures, and of the scores of `samplers`."""
    settings, protocols = study.runs[name].settings, study.spec["protocols"]
    chosen = {s: study.sampler(s) for s in samplers}
    if settings.reads_text:
        sets = {s["prompts"]: study.prompts(s["prompts"]) for s in chosen.values()}
        own = {"text": protocols["text"], "prompts": sets}
        return of_settings(settings, "data", "runtime", samplers=chosen, **own)
    sections = ("data", "tokenizer", "joint", "runtime")
    own = {part: protocols[part] for part in ("generation", "validation")}
    return of_settings(settings, *sections, samplers=chosen, **own)


def _options(paths):
    """{'name': path} as options of a command line, quoted for a shell."""
    return " ".join(f"--{name} {shlex.quote(path)}" for name, path in paths.items())


def _teacher(study, run):
    return f"{study.root}/teacher/{run.settings.align.teacher}"


def evaluation_options(study, checkpoint):
    """Options that name an evaluation's inputs and outputs, quoted for a shell."""
    options = {
        "checkpoint": study.path(checkpoint),
        "tokenizer": study.path(study.tokenizer_of(checkpoint)),
        "features": study.features_of(checkpoint),
        "samples": study.path(checkpoint, "samples"),
        "metrics": study.path(checkpoint, "metrics"),
    }
    if STAGES[checkpoint.stage].aligns:
        options["teacher"] = _teacher(study, study.runs[checkpoint.run])
    if STAGES[checkpoint.stage].reads_text:
        options["encoder"] = f"{study.root}/text_encoder"
    return _options(options)


def analyses(study):
    """The checkpoints whose features are compared with those of their teacher."""
    return [need.checkpoint for need in study.needs if need.kind == "analysis"]


def analysis(study, name):
    """The line of the comparison of a checkpoint's features with those of its teacher."""
    settings, spec = study.runs[name].settings, study.spec["analysis"]
    return of_settings(settings, "data", "tokenizer", "runtime", analysis=spec)


def analysis_options(study, checkpoint):
    """Options that name an analysis' inputs, quoted for a shell."""
    options = {
        "checkpoint": study.path(checkpoint),
        "tokenizer": study.path(study.tokenizer_of(checkpoint)),
        "teacher": _teacher(study, study.runs[checkpoint.run]),
    }
    return _options(options)


def evaluations(study):
    """{checkpoint: samplers} to evaluate; () means validation and pictures only."""
    samplers = {}
    for need in study.needs:
        if need.kind in ("validation", "pictures", "scores", "decoded"):
            samplers.setdefault(need.checkpoint, set()).add(need.sampler)
    order = study.spec["samplers"]
    return {key: tuple(s for s in order if s in names) for key, names in samplers.items()}


def evaluation_groups(study):
    """{samplers: checkpoints}: the checkpoints that need the same samplers."""
    groups = {}
    for checkpoint, samplers in evaluations(study).items():
        groups.setdefault(samplers, []).append(checkpoint)
    return groups
