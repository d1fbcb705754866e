"""`gear doctor`: what a study needs that is not here yet, before any job says so.

It looks for files and asks programs; it opens no weights and counts no images, which the first
rules do. Each line is ok, missing (with its cure; the exit status is then 1) or a note.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from gear.artifacts import store
from gear.files.mistakes import Mistake
from gear.launch import slurm
from gear.plan.budget import Budget
from gear.plan.report import entry
from gear.plan.targets import is_made, wanted
from gear.study import jobs
from gear.study.configfiles import read_yaml
from gear.study.registry import Study
from gear.study.stages import STAGES

OK, MISSING, NOTE = "ok", "missing", "note"
PUBLISHED = {  # layout or kind of a file: who publishes it
    "llamagen-tokenizer": "LlamaGen's authors publish it as vq_ds16_c2i.pt",
    "open-magvit2": "Open-MAGVIT2's authors publish it as pretrain256_16384.ckpt",
    "ibq": "IBQ's authors publish it as IBQ_pretrain_16384.ckpt",
    "inception": "pytorch-fid's authors publish it as pt_inception-2015-12-05-6726825d.pth",
    "reference": "ADM's authors publish it as VIRTUAL_imagenet256_labeled.npz",
    "vgg16": "torchvision publishes its VGG16 weights of ImageNet",
}


@dataclass(frozen=True)
class Finding:
    state: str
    subject: str
    said: str

    def __str__(self):
        return f"{self.state:8} {self.subject:10} {self.said}"


def _file(subject, path, what, cure):
    if Path(path).exists():
        return Finding(OK, subject, f"{path} ({what})")
    return Finding(MISSING, subject, f"{path} ({what}) is not there; {cure}.")


def data(study):
    """The images: made by a rule, or in a folder that the first rule will list."""
    if study.makes_data:
        yield Finding(OK, "data", f"{study.data.path} is made by the rule prepare_data")
        return
    root, classes = Path(study.data.path), study.data.classes
    for split in ("train", "val"):
        folder, count = root / split, 0
        if folder.is_dir():
            with os.scandir(folder) as entries:
                count = sum(e.is_dir() and not e.name.startswith(".") for e in entries)
        if count == classes:
            yield Finding(OK, "data", f"{folder} has {classes} class folders")
        else:
            yield Finding(
                MISSING,
                "data",
                f"{folder} has {count} class folders of {classes}; put the images there as "
                "<split>/<class>/<image>, or name their folder as settings.data.path, and the "
                "number of classes as settings.data.classes, in the study's file.",
            )


def weights(study, needed):
    """Files that the target's runs start from, align to and are scored with."""
    runs = [study.runs[name] for name in needed.runs]
    ends = [study.checkpoint(*end) for end in needed.runs.items()]
    left = [study.runs[end.run] for end in ends if not is_made(study, end)]
    starts = {
        r.settings.tokenizer.quantizer for r in runs if STAGES[r.stage].public and r.from_public
    }
    for quantizer, spec in study.spec.get("public", {}).items():
        if quantizer in starts and not _imported(study, f"public/{quantizer}"):
            cure = f"{PUBLISHED.get(spec['layout'], 'get it')}; or change public.{quantizer}.file"
            yield _file("weights", spec["file"], f"tokenizer {quantizer}", cure)
    for name in dict.fromkeys(r.settings.align.teacher for r in runs if STAGES[r.stage].aligns):
        if not _imported(study, f"teacher/{name}"):
            yield _teacher(study.spec["teachers"][name], name)
    losses = [r.settings.loss for r in left if STAGES[r.stage].owns_tokenizer]
    losses = {loss.vgg16 for loss in losses if loss.lpips}
    for path in sorted(losses):
        if path:
            yield _file("weights", path, "VGG16 of LPIPS", PUBLISHED["vgg16"])
        else:
            cure = "name its file as settings.loss.vgg16 in the study's file, or set loss.lpips: 0"
            said = f"no file of VGG16 is named, which LPIPS needs; {PUBLISHED['vgg16']}: {cure}."
            yield Finding(MISSING, "weights", said)
    features = study.spec["features"]
    scored = needed.of("samples", "validation", "pictures")
    if features["kind"] == "inception" and scored and not _imported(study, "features"):
        yield _file("weights", features["weights"], "Inception", PUBLISHED["inception"])
        yield _file("reference", features["reference"], "reference", PUBLISHED["reference"])


def _imported(study, folder):
    """Whether a job has already imported the published files."""
    return Path(study.root, folder, "weights.safetensors").is_file()


def _teacher(spec, name):
    from gear.alignment.teachers.load import network

    if spec["kind"] == "standin":
        return Finding(OK, "weights", f"teacher {name} is a stand-in that the study trains")
    hub, path = spec.get("hub"), Path(spec["weights"])
    if hub and hub.get("revision") and not path.exists():
        said = f"{spec['weights']} ({spec['label']}) is not there and will be downloaded"
        return Finding(NOTE, "weights", f"{said} from {hub['repo']} at {hub['revision']}")
    if "bytes" in spec and path.is_file() and path.stat().st_size != spec["bytes"]:
        said = f"{path} ({spec['label']}) has {path.stat().st_size:,} bytes, not {spec['bytes']:,}"
        cure = f"download it again, or change teachers.{name}.bytes"
        return Finding(MISSING, "weights", f"{said}; {cure}.")
    layouts = " or ".join(layout.name for layout in network(spec["network"]).LAYOUTS)
    known = [f"{hub['repo']} on the Hugging Face hub has it" if hub else layouts]
    known += [f"{spec['bytes']:,} bytes"] if "bytes" in spec else []
    known += [f"sha256 {spec['sha256']}"] if "sha256" in spec else []
    cure = f"put the file there ({', '.join(known)}), or change teachers.{name}.weights"
    return _file("weights", path, spec["label"], cure)


def disk(study, needed):
    """Room for what the target keeps, beside what exists already."""
    entries = [entry(study.runs[run], last, study) for run, last in needed.runs.items()]
    to_come = sum(Budget(study, entries, needed, {}).disk(left=True).values())
    folder = Path(study.root)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    said = f"{free / 1e9:,.1f} GB are free at {folder}, {to_come / 1e9:,.1f} GB are still to come"
    if free > to_come:
        return Finding(OK, "disk", said)
    cure = "free some, or put results/ on another file system and link it here"
    return Finding(MISSING, "disk", f"{said}; {cure}.")


def remote():
    """Where `gear artifacts push` and `pull` go."""
    try:
        name = store.remote()
        url = name and store.dvc("config", f"remote.{name}.url").strip()
    except Mistake as error:
        return Finding(NOTE, "remote", str(error))
    if not url:
        return Finding(NOTE, "remote", "none is set: gear artifacts remote URL, where you want one")
    scheme = url.split("://")[0] if "://" in url else ""
    if not scheme and not Path(url).is_dir():
        said = f"{url} is not there; make the folder, or mount its disk"
        return Finding(NOTE, "remote", said)
    return Finding(OK, "remote", url)


def cluster(study):
    """Whether the cluster can run the study's jobs and say when they end."""
    profile = read_yaml(slurm.PROFILE)
    needs = [_need(study, rule, profile) for rule in jobs.rules(study)]
    state = MISSING if "jobs" in study.spec else NOTE  # a study that does without a cluster
    try:
        site = slurm.ask()
    except Mistake as error:  # one machine with enough GPUs does without
        return [Finding(NOTE, "SLURM", str(error))]
    wait = profile.get("slurm-init-seconds-before-status-checks", 40)
    status_command = profile.get("slurm-status-command", "sacct")
    problems = list(site.problems(needs, status_command, wait))
    if problems:
        return [Finding(state, "SLURM", said) for said in problems]
    default = site.default or "none"
    said = f"{len(site.partitions)} partitions, default {default}; each rule's jobs find nodes"
    accounts = "accounting by slurmdbd" if site.accounting else "no accounting"
    return [Finding(OK, "SLURM", f"{said}; {accounts}, {status_command} is asked")]


def _need(study, rule, profile):
    """What the profile and the study ask for the jobs of a rule."""
    resources = (profile.get("default-resources") or {}) | jobs.needs(study, rule)
    own = (profile.get("set-resources") or {}).get(rule) or {}
    return slurm.Need.of(rule, resources | own)


def device():
    """What trains here."""
    import torch

    if torch.cuda.is_available():
        name, count = torch.cuda.get_device_name(), torch.cuda.device_count()
        return Finding(OK, "device", f"{count} x {name}, torch {torch.__version__}")
    return Finding(NOTE, "device", f"no GPU here, torch {torch.__version__} runs on the CPU")


def findings(study, target):
    """Every Finding about a study's target, in the order in which the work meets them."""
    needed = wanted(study, target)
    yield device()
    yield from data(study)
    yield from weights(study, needed)
    yield disk(study, needed)
    yield remote()
    yield from cluster(study)


def main(name, results="results", target="all"):
    """Print the findings; returns 1 where something is missing."""
    study = Study(name, results)
    print(f"target {target} of study {study.name}: {study.spec['title']}", flush=True)
    missing = 0
    for finding in findings(study, target):
        print(finding, flush=True)
        missing += finding.state == MISSING
    print(f"{missing} missing" if missing else "nothing is missing")
    return int(missing > 0)
