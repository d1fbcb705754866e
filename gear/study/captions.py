"""What must fit together in a study whose runs read captions, checked before any training."""

from gear.files.mistakes import Mistake
from gear.study import jobs
from gear.study.stages import STAGES

PARTS = ("text_encoder", "prompts")  # of a study's file


def check(study, where):
    """Mistake where parts of the study's file contradict each other, or one is missing."""
    for run in study.runs.values():
        reads = STAGES[run.stage].reads_text
        if run.settings.reads_text != reads:
            cure = "set it to shards" if reads else "set it to folder or digits"
            raise Mistake(
                f"{where}: data.source of the stage {run.stage} is {run.settings.data.source}; "
                f"{cure}, in `settings` or in `stages.{run.stage}`."
            )
    for name, sampler in study.spec["samplers"].items():
        if "prompts" in sampler:
            _sampler(study, name, sampler, where)
    if study.captioned is None:
        return
    for part in PARTS:
        if part not in study.spec:
            raise Mistake(
                f"{where} has no `{part}`, which the stage t2i needs; copy it from "
                "studies/demo.yaml, or delete milestones.t2i."
            )
    if study.captioned.hold != "stream":
        raise Mistake(f"{where}: images of shards are not held in memory; set data.hold: stream.")
    _protocol(study, where)


def _sampler(study, name, sampler, where):
    prompts = study.prompts(sampler["prompts"], f"{where}, samplers.{name}")
    drawn = prompts["count"] * prompts.get("images", 1)
    if sampler["images"] != drawn:
        raise Mistake(
            f"{where}: samplers.{name}.images is {sampler['images']}, but prompts "
            f"{sampler['prompts']} are {drawn} images (count times images); set it to {drawn}."
        )


def _protocol(study, where):
    """protocols.text, its features, and the numbers of images of the samplers in use."""
    protocol = study.spec["protocols"].get("text")
    if protocol is None:
        raise Mistake(f"{where} has no protocols.text, which the stage t2i needs; add it.")
    own = "text_features" in study.spec
    if own != (protocol["name"] == "fdd"):
        cure = "set it to fdd" if own else "set it to demo_text, or add text_features"
        raise Mistake(f"{where}: protocols.text.name is {protocol['name']}; {cure}.")
    if not own and study.spec["features"]["kind"] != "standin":
        raise Mistake(
            f"{where}: protocol demo_text is computed on stand-in features; add text_features and "
            "set protocols.text.name: fdd."
        )
    coco = jobs.coco_samplers(study)
    if coco and "coco" not in study.spec["protocols"]:
        raise Mistake(f"{where}: samplers.{coco[0]} needs protocols.coco; add it.")
    for need in study.needs:
        if (
            need.sampler in coco
            or need.kind != "scores"
            or not STAGES[need.checkpoint.stage].reads_text
        ):
            continue
        if not own and not study.spec["together"]:
            raise Mistake(
                f"{where}: whether pictures follow their captions is measured where all is drawn "
                "and scored by one job; set together: true, or add text_features."
            )
        sampler = study.sampler(need.sampler)
        if "prompts" not in sampler:
            raise Mistake(
                f"{where}: {need.checkpoint} reads captions, but samplers.{need.sampler} names no "
                "`prompts`; add them."
            )
        if sampler["images"] != protocol["images"]:
            raise Mistake(
                f"{where}: samplers.{need.sampler}.images is {sampler['images']}, but "
                f"protocols.text.images is {protocol['images']}; set both to one number."
            )
