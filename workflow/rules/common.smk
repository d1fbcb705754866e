# What all rules share: the study's paths, the wildcards, and the warm process of a local study.
import os
import re
import shlex

from gear.study import jobs
from gear.launch import slurm
from gear.launch.warm import Warm

DATA = STUDY.manifest()
TEACHERS = jobs.teachers_by_kind(STUDY)
FEATURES = [
    f"{R}/features/{file}"
    for file in ("weights.safetensors", "reference.npz", "run.json")
]
CONDA = "../../envs/gear.yaml"
LAUNCH = (
    "python -m gear.launch --nodes {resources.nodes} --processes {resources.processes} "
    "--cpus {resources.cpus_per_task} --gpus {resources.gpus_per_node} -- "
)
SAMPLES, SCORES, ANALYSES, REPORT = map(jobs.code, jobs.CODE)


wildcard_constraints:
    run="[a-z0-9][a-z0-9.-]*",
    step="[0-9]+k",
    sampler="|".join(STUDY.spec["samplers"]).replace(".", "[.]"),


def teacher(run):
    """The weights of the teacher that a run aligns to."""
    return f"{R}/teacher/{STUDY.runs[run].settings.align.teacher}/weights.safetensors"


def previous(w):
    """The milestone that a segment goes on from."""
    before = STUDY.checkpoint(w.run, w.step).previous(w.step)
    return f"{STUDY.path(w.run, before)}/weights.safetensors" if before else []


def initial(w):
    """The weights of the tokenizer that a run starts from or freezes."""
    source = STUDY.initial(w.run)
    return f"{source}/weights.safetensors" if source else []


def initial_option(w):
    source = STUDY.initial(w.run)
    return f"--tokenizer {shlex.quote(source)}" if source else ""


def run_and_step(w):
    _, run, step = w.checkpoint.split("/")
    return run, step


def tokenizer_weights(run, step):
    """The weights of the tokenizer that decodes a checkpoint's samples."""
    return f"{STUDY.path(*STUDY.tokenizer_of(run, step))}/weights.safetensors"


def weights_to_score(w):
    """A checkpoint's weights, its tokenizer's where it froze one, and its teacher's."""
    run, step = run_and_step(w)
    own = f"{STUDY.path(run, step)}/weights.safetensors"
    found = list(dict.fromkeys((own, tokenizer_weights(run, step))))
    return found if STUDY.runs[run].stage == "tokenizer" else [*found, teacher(run)]


def weights_to_compare(w):
    """The same with the teacher's in any case, each once."""
    return list(dict.fromkeys([*weights_to_score(w), teacher(run_and_step(w)[0])]))


def evaluation(samplers):
    def cfg(w):
        job = jobs.evaluation(STUDY, run_and_step(w)[0], samplers)
        return {"json": job, "code": SCORES}

    return cfg


def shown(spec):
    return [f"{R}/{path}" for path in inputs(spec)]


def refuse(w):
    """End with one sentence for a target that is neither a rule nor a file of ours."""
    known = [*TABLES, *FIGURES, "claims", "all", "all_tables", "all_figures", "quick"]
    cure = did_you_mean(w.target, known)
    sys.exit(f"gear: study '{STUDY.name}' has no target '{w.target}'. {cure}")


# A small study's jobs are shorter than the import of torch: one process imports it for all of them.
# On a cluster each job has its own, and what can never run there is said before the first is queued.
WARM = Warm()


onstart:
    if workflow.executor_plugin.name == "slurm":
        slurm.require(workflow)
    elif STUDY.spec["together"]:
        WARM.start()


onsuccess:
    WARM.stop()


onerror:
    WARM.stop()
