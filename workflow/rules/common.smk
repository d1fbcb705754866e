# Shared by all rules: the study's paths, the wildcards, and the warm process of a local study.
import os
import re
import shlex

from gear.files.outputs import require_writable_folder
from gear.launch import failures, signals, slurm
from gear.launch.scheduler import look_once_a_second
from gear.launch.warm import Warm
from gear.study import fit, jobs
from gear.study.needs import Checkpoint, place
from gear.study.stages import STAGES

DATA = STUDY.manifest()
TEACHERS = jobs.teachers_by_kind(STUDY)
CONDA = "../../envs/gear.yaml"
LAUNCH = (
    "python -m gear.launch --nodes {resources.nodes} --processes {resources.processes} "
    "--cpus {resources.cpus_per_task} --gpus {resources.gpus_per_node} -- "
)
SAMPLES, SCORES, ANALYSES, CAPTIONED, REPORT = jobs.codes(".snakemake/gear-code.json")


def one_of(names):
    """The constraint of a wildcard that must be one of these names or paths."""
    return "|".join(map(re.escape, names))


wildcard_constraints:
    run="[a-z0-9][a-z0-9.-]*",
    step="[0-9]+k",
    sampler=one_of(STUDY.spec["samplers"]),


def teacher(run):
    """The weights of the teacher that a run aligns to."""
    return f"{R}/teacher/{STUDY.runs[run].settings.align.teacher}/weights.safetensors"


def weights(of):
    """The weights of a checkpoint."""
    return f"{STUDY.path(of)}/weights.safetensors"


def previous(w):
    """The weights of the previous milestone, or [] for the first."""
    segment = STUDY.checkpoint(w.run, w.step)
    before = STUDY.runs[w.run].previous(segment.milestone)
    return weights(STUDY.checkpoint(w.run, before)) if before else []


def initial(w):
    """The weights of the tokenizer that a run starts from or freezes."""
    source = STUDY.initial(w.run)
    return f"{source}/weights.safetensors" if source else []


def initial_option(w):
    source = STUDY.initial(w.run)
    return f"--tokenizer {shlex.quote(source)}" if source else ""


def at(w):
    """The checkpoint of the wildcard `checkpoint`, which is stage/run/step."""
    return Checkpoint.of(w.checkpoint)


def decoder(w):
    """The checkpoint whose tokenizer decodes a checkpoint's samples."""
    return STUDY.tokenizer_of(at(w))


def weights_to_score(w):
    """A checkpoint's weights, those of a frozen tokenizer, its teacher and its text encoder."""
    files, stage = [weights(at(w)), weights(decoder(w))], STAGES[at(w).stage]
    files += [teacher(at(w).run)] if stage.aligns else []
    return list(dict.fromkeys(files)) + (ENCODER if stage.reads_text else [])


def captions_to_draw(w):
    """The manifest of the captions, where a checkpoint reads captions."""
    reads = STAGES[at(w).stage].reads_text
    return [STUDY.manifest(at(w).run)] if reads else []


def features(w):
    """The files of the features on which a checkpoint's samples are scored."""
    names = ("weights.safetensors", "reference.npz", "run.json")
    return [f"{STUDY.features_of(at(w))}/{name}" for name in names]


def weights_to_compare(w):
    """The weights to score, and always those of the teacher; each once."""
    return list(dict.fromkeys([*weights_to_score(w), teacher(at(w).run)]))


def coded(w, code):
    """The hashes of the code that makes a job's outputs."""
    return code | CAPTIONED if STAGES[at(w).stage].reads_text else code


def evaluation(samplers):
    def cfg(w):
        line = jobs.evaluation(STUDY, at(w).run, samplers)
        return {"json": line, "code": coded(w, SCORES)}

    return cfg


def shown(spec):
    return [place(R, path) for path in inputs(spec)]


def labels(spec, what):
    """The labels of a table or figure in Snakemake's report."""
    number = spec["paper_table" if what == "Table" else "paper_figure"]
    return {
        "title": spec["title"],
        "in the paper": f"{what} {number}" if number else "",
    }


def refuse(w):
    """End with one sentence: the target is neither a rule nor a file of the study."""
    sys.exit(f"gear: {STUDY.no_target(w.target)}")


# The jobs of a small study are shorter than the import of torch, so one process imports it for all.
# On a cluster each job imports it. There, requests that can never run are reported before the first
# job is queued.
WARM = Warm()


onstart:
    try:
        require_writable_folder(R)
    except Mistake as error:
        sys.exit(f"gear: {error}")
    look_once_a_second(workflow.scheduler)
    if workflow.executor_plugin.name == "slurm":
        slurm.require(workflow)
    else:
        signals.end_jobs_at_the_second()
        if STUDY.spec["together"]:
            WARM.start(jobs.imports(STUDY))


onsuccess:
    WARM.stop()


onerror:
    WARM.stop()
    failures.report(log)
