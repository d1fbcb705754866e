"""The files of weights that a target needs: whether they are there, and whether they are the right
ones. Where they come from is in config/sources.csv."""

from pathlib import Path

from gear.cli.finding import MISSING, NOTE, OK, Finding
from gear.files.hashes import sha256
from gear.plan.targets import is_made
from gear.study.sources import source
from gear.study.stages import STAGES


def weights(study, needed):
    """A Finding for each file that the target's runs start from, align to and are scored with."""
    runs = [study.runs[name] for name in needed.runs]
    yield from _public(study, runs)
    for name in dict.fromkeys(r.settings.align.teacher for r in runs if STAGES[r.stage].aligns):
        if not is_imported(study, f"teacher/{name}"):
            yield _teacher(study.spec["teachers"][name], name)
    yield from _vgg16(study, needed)
    features = study.spec["features"]
    scored = needed.of("samples", "validation", "pictures")
    if features["kind"] == "inception" and scored and not is_imported(study, "features"):
        stated = {"sha256": features.get("sha256")}
        yield found_file("weights", features["weights"], "inception", "features.weights", stated)
        yield found_file("reference", features["reference"], "reference", "features.reference")


def _public(study, runs):
    starts = {
        r.settings.tokenizer.quantizer for r in runs if STAGES[r.stage].public and r.from_public
    }
    for quantizer, spec in study.spec.get("public", {}).items():
        if quantizer in starts and not is_imported(study, f"public/{quantizer}"):
            setting = f"public.{quantizer}.file"
            yield found_file("weights", spec["file"], spec["layout"], setting, spec)


def is_imported(study, folder):
    """Whether a job has already imported the published files."""
    return Path(study.root, folder, "weights.safetensors").is_file()


def _teacher(spec, name):
    if spec["kind"] == "standin":
        return Finding(OK, "weights", f"teacher {name} is a stand-in that the study trains")
    hub = spec.get("hub", {})
    if hub.get("revision") and not Path(spec["weights"]).exists():
        said = f"{spec['weights']} ({spec['label']}) is not there and will be downloaded"
        return Finding(NOTE, "weights", f"{said} from {hub['repo']} at {hub['revision']}")
    return found_file("weights", spec["weights"], spec["network"], f"teachers.{name}.weights", spec)


def _vgg16(study, needed):
    ends = [study.checkpoint(*end) for end in needed.runs.items()]
    left = [study.runs[end.run] for end in ends if not is_made(study, end)]
    losses = [r.settings.loss for r in left if STAGES[r.stage].owns_tokenizer]
    for path in sorted({loss.vgg16 for loss in losses if loss.lpips}):
        if path:
            yield found_file("weights", path, "vgg16", "settings.loss.vgg16")
        else:
            said = f"no file of VGG16 is named, which LPIPS needs ({source('vgg16')})"
            cure = "name its file as settings.loss.vgg16 in the study's file, or set loss.lpips: 0"
            yield Finding(MISSING, "weights", f"{said}; {cure}.")


def found_file(subject, path, name, setting, stated=None):
    """The Finding of a file.

    name: of its Source; setting: the key of the study that names it; stated: {'bytes', 'sha256'} of
    the study, which replace those of the Source."""
    known, stated, path = source(name), stated or {}, Path(path)
    if not path.exists():
        cure = f"put the file there ({known}), or change {setting}"
        said = f"{path} ({known.used_for}) is not there; {cure}."
        return Finding(MISSING, subject, said)
    said, again = f"{path} ({known.used_for})", f"download it again ({known}), or change {setting}"
    if path.is_dir():
        return Finding(OK, subject, said)
    size = stated.get("bytes") or (int(known.bytes) if known.bytes.isdigit() else None)
    if size and path.stat().st_size != size:
        fault = f"has {path.stat().st_size:,} bytes, not {size:,}"
        return Finding(MISSING, subject, f"{said} {fault}; {again}.")
    found, wanted = sha256(path), stated.get("sha256") or known.hash
    if not found.startswith(wanted):
        fault = f"has sha256 {found}, not {wanted}"
        return Finding(MISSING, subject, f"{said} {fault}; {again}.")
    checked = f"sha256 {found} as published" if wanted else f"sha256 {found}, not known before"
    return Finding(OK, subject, f"{said}, {checked}")
