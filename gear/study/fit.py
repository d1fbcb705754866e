"""What must fit together in a study, checked before any training.

`study` compares what the files of config/ say, while they are read. `images` compares the numbers
of images with what trainings, protocols and analyses need: for made images from the study's file,
for a folder from the list that prepare_data wrote; that rule checks them itself when it lists the
folder. Each Mistake names the setting to change.
"""

import json
from pathlib import Path

from gear.data.counts import check as counts
from gear.files.mistakes import Mistake
from gear.files.reading import read_json
from gear.study import captions
from gear.study.stages import STAGES


def needs(study):
    """[{split, exact, least, setting}]: the numbers of images that a study needs.

    Either `exact` or `least` is a number, the other is None."""
    found = []

    def need(split, setting, least=None, exact=None):
        found.append({"split": split, "exact": exact, "least": least, "setting": setting})

    spec, kinds = study.spec, {n.kind for n in study.needs}
    for run in study.runs.values():
        if not run.settings.reads_text:
            need("train", "settings.optim.batch", least=run.settings.optim.batch)
    parts = {f"teachers.{name}": entry for name, entry in spec["teachers"].items()}
    for name, entry in (parts | {"features": spec["features"]}).items():
        if entry["kind"] == "standin":
            need("train", f"{name}.batch", least=entry["batch"])
    need("train", "protocols.generation.neighbours", least=_neighbours(study) + 1)
    validation = spec["protocols"]["validation"].get("images")
    if validation and kinds & {"validation", "pictures"}:
        need("val", "protocols.validation.images", exact=validation)
    if "analysis" in kinds:
        analysis = spec["analysis"]
        key = "images" if "images" in analysis else "batch"
        need("val", f"analysis.{key}", least=analysis[key])
    unique = {(n["split"], n["setting"], n["least"], n["exact"]): n for n in found}
    return list(unique.values())


def line(study):
    """What prepare_data checks, as JSON: the needs, and the pixels that all files must have."""
    size = study.data.resolution if study.data.hold == "memory" else None
    widest = max(run.settings.data.resolution for run in study.runs.values())
    content = {"needs": needs(study), "size": size, "widest": widest}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def images(study):
    """Mistake where the images that are known already do not fit the study."""
    where = f"studies/{study.name}.yaml"
    if study.makes_data:
        counts({s: study.spec["data"][s] for s in ("train", "val")}, needs(study), where)
    captions.counts(study, where)
    manifest = Path(study.manifest())
    if not study.makes_data and manifest.is_file():
        listed = read_json(manifest, "remove it and run again").get("images", {})
        numbers = {split: sum(classes.values()) for split, classes in listed.items()}
        where = f"{study.data.path} (as listed; where images were added, remove {manifest})"
        counts(numbers, needs(study), where)


def study(study):
    """Mistake where two parts of a study's file contradict each other."""
    where = f"studies/{study.name}.yaml"
    _networks(study, where)
    _samples(study, where)
    captions.check(study, where)
    if any(need.kind == "analysis" for need in study.needs):
        _analysis(study, where)


def _networks(study, where):
    """The feature network and the teachers: protocols and channels."""
    spec, channels = study.spec, study.data.channels
    standin = spec["features"]["kind"] == "standin"
    for part, other in (("generation", "adm or clean"), ("validation", "reconstruction")):
        name = spec["protocols"][part]["name"]
        if (name == "demo") != standin:
            cure = "demo" if standin else other
            raise Mistake(
                f"{where}: protocols.{part}.name is {name}, but features.kind is "
                f"{spec['features']['kind']}; set protocols.{part}.name: {cure}."
            )
    if channels == 3:
        return
    what = f"{where}: settings.data.channels is {channels}, but"
    if not standin:
        raise Mistake(f"{what} {spec['features']['label']} reads colour; set it to 3.")
    for run in {need.checkpoint.run for need in study.needs}:
        settings, stage = study.runs[run].settings, STAGES[study.runs[run].stage]
        teacher = spec["teachers"].get(settings.align.teacher, {"kind": "standin"})
        if stage.aligns and teacher["kind"] == "pretrained":
            raise Mistake(f"{what} the teacher {teacher['label']} reads colour; set it to 3.")
        if stage.owns_tokenizer and settings.loss.lpips:
            raise Mistake(f"{what} LPIPS reads colour; set it to 3, or settings.loss.lpips to 0.")


def _neighbours(study):
    return study.spec["protocols"]["generation"].get("neighbours", 3)


def _samples(study, where):
    """Samplers draw what the protocol of generated images compares."""
    generation, k = study.spec["protocols"]["generation"], _neighbours(study)
    scored = [need for need in study.needs if need.kind == "scores"]
    labelled = [need for need in scored if not STAGES[need.checkpoint.stage].reads_text]
    for name in sorted({need.sampler for need in labelled}):
        drawn = study.sampler(name)["images"]
        if drawn != generation["images"]:
            raise Mistake(
                f"{where}: samplers.{name}.images is {drawn}, but protocols.generation.images is "
                f"{generation['images']}; set both to one number."
            )
    compared = min(generation["images"], generation.get("prdc_images", generation["images"]))
    if k >= compared:
        raise Mistake(
            f"{where}: protocols.generation.neighbours is {k}, which needs more than {k} images, "
            f"but {compared} are compared; lower it, or raise protocols.generation.images."
        )


def _analysis(study, where):
    """Images, batches and neighbours of CKA and CKNNA."""
    spec = study.spec["analysis"]
    images, batch, neighbours = spec.get("images", spec["batch"]), spec["batch"], spec["neighbours"]
    if images % batch:
        raise Mistake(
            f"{where}: analysis.images {images} is no multiple of analysis.batch {batch}; set one "
            "that is."
        )
    tokens = min(_tokens(study.runs[need.checkpoint.run].settings) for need in study.needs)
    for level, count, what in (
        ("image", batch, f"analysis.batch is {batch}"),
        ("patch", tokens, f"an image has {tokens} tokens"),
    ):
        if neighbours[level] >= count:
            raise Mistake(
                f"{where}: analysis.neighbours.{level} is {neighbours[level]}, but {what}; set "
                "fewer neighbours."
            )


def _tokens(settings):
    return (settings.data.resolution // settings.tokenizer.downsampling) ** 2
