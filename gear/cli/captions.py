"""What text to image needs, as `gear doctor` sees it: shards, text encoder, features, prompts.

No shard is read, and no weights are loaded.
"""

from pathlib import Path

from gear.cli.finding import MISSING, NOTE, OK, Finding
from gear.cli.weights import found_file, is_imported
from gear.data import tars
from gear.data.digits import SPLITS
from gear.files.mistakes import Mistake, counted
from gear.study import jobs
from gear.study.sources import source
from gear.t2i.prompts import read_prompts
from gear.t2i.text_folder import read_folder
from gear.t2i.text_import import check_sha256


def captions(study, needed):
    """A Finding for each thing that the target's runs of text to image need."""
    runs = [study.runs[name] for name in needed.runs if study.runs[name].settings.reads_text]
    if not runs:
        return
    yield from shards(study)
    if not Path(study.root, "text_encoder", "run.json").is_file():
        yield encoder(study.spec["text_encoder"], runs[0].settings.text)
    features = study.spec.get("text_features")
    if features and not is_imported(study, "text_features"):
        stated = {"sha256": features.get("sha256")}
        yield found_file(
            "weights", features["weights"], "dinov2-l", "text_features.weights", stated
        )
        yield found_file("reference", features["reference"], "gpic", "text_features.reference")
    drawn = {study.sampler(need.sampler).get("prompts") for need in needed.of("samples")}
    for name, entry in study.spec.get("prompts", {}).items():
        if "file" in entry and name in drawn:
            yield prompts(name, entry)
    if {need.sampler for need in needed.of("scores")} & {*jobs.coco_samplers(study)}:
        coco = study.spec["protocols"]["coco"]
        for part, name in (("inception", "inception"), ("clip", "clip"), ("reference", "coco")):
            what = "reference" if part == "reference" else "weights"
            yield found_file(what, coco[part], name, f"protocols.coco.{part}")


def shards(study):
    """The shards of captioned images: made by a rule, or in a folder that is indexed once."""
    root = study.captioned.path
    if study.makes_data:
        yield Finding(OK, "captions", f"{root} is made by the rule make_shards")
        return
    for split in SPLITS:
        try:
            found = tars.shards_of(Path(root, split))
        except Mistake as error:
            known = f" ({source('gpic')})" if Path(root) == Path("data/gpic") else ""
            yield Finding(MISSING, "captions", f"{error}{known}")
            return
        yield Finding(OK, "captions", f"{root}/{split}: {counted(len(found), 'shard')}")


def encoder(spec, text):
    """The text encoder of a study. spec: its `text_encoder`; text: config.Text."""
    if spec["kind"] == "standin":
        return Finding(OK, "encoder", f"{spec['label']}: a stand-in that the study makes")
    path, hub = Path(spec["weights"]), spec.get("hub", {})
    if not path.exists():
        if hub.get("revision"):
            said = f"{path} ({spec['label']}) is not there and will be downloaded"
            return Finding(NOTE, "encoder", f"{said} from {hub['repo']} at {hub['revision']}")
        cure = f"put its files there ({source('qwen3')}), or change text_encoder.weights"
        return Finding(MISSING, "encoder", f"{path} ({spec['label']}) is not there; {cure}.")
    try:
        held = check_sha256(read_folder(path, text), spec)
    except Mistake as error:
        return Finding(MISSING, "encoder", str(error))
    said = ", ".join(f"{name} sha256 {digest}" for name, digest in held.items())
    return Finding(OK, "encoder", f"{path} ({spec['label']}): {said}")


def prompts(name, entry):
    """A study's set of prompts in a file. entry: {file, count}."""
    try:
        found = len(read_prompts(entry["file"]))
    except Mistake as error:
        return Finding(MISSING, "prompts", f"prompts.{name}: {error}")
    if found < entry["count"]:
        fault = f"{entry['file']} holds {found} prompts, prompts.{name}.count is {entry['count']}"
        return Finding(MISSING, "prompts", f"{fault}; complete the file, or lower the count.")
    return Finding(OK, "prompts", f"prompts.{name}: {entry['file']}, {counted(found, 'prompt')}")
