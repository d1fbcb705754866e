"""Checks of a study whose runs read captions, before any training.

`parts` runs before the tables are read, because tables take their columns from these parts."""

from gear.files.mistakes import Mistake
from gear.study import jobs
from gear.study.stages import STAGES

PARTS = ("text_encoder", "prompts")  # of a study's file


def parts(study, where):
    """Mistake where parts of the study's file contradict each other, or a part is missing."""
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
        raise Mistake(f"{where}: images in shards cannot be held in memory; set data.hold: stream.")
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
    """Mistake where protocols.text, its features or its numbers of images do not fit."""
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
    images, k = protocol["images"], protocol.get("neighbours", 0)
    compared = min(images, protocol.get("prdc_images", images))
    if k >= compared:
        raise Mistake(
            f"{where}: protocols.text.neighbours is {k}, which needs more than {k} images, but "
            f"{compared} are compared; lower it, or raise protocols.text.images."
        )
    coco = jobs.coco_samplers(study)
    if coco and "coco" not in study.spec["protocols"]:
        raise Mistake(f"{where}: samplers.{coco[0]} needs protocols.coco; add it.")
    if coco and study.spec["together"]:
        raise Mistake(
            f"{where}: samplers.{coco[0]} is scored by a job of its own; set together: false, or "
            "take the sampler out."
        )


def check(study, where):
    """Mistake where a sampler does not fit the checkpoint that a table or figure shows."""
    for need in study.needs:
        if need.kind == "scores":
            _scores(study, need, where)


def _scores(study, need, where):
    sampler, protocols = study.sampler(need.sampler), study.spec["protocols"]
    reads = STAGES[need.checkpoint.stage].reads_text
    if reads != ("prompts" in sampler):
        said = "names no `prompts`; add them" if reads else "names `prompts`; name another sampler"
        what = "captions" if reads else "classes"
        raise Mistake(
            f"{where}: {need.checkpoint} reads {what}, but samplers.{need.sampler} {said}."
        )
    if not reads or need.sampler in jobs.coco_samplers(study):
        return
    if "text_features" not in study.spec and not study.spec["together"]:
        raise Mistake(
            f"{where}: whether pictures follow their captions is measured where all is drawn and "
            "scored by one job; set together: true, or add text_features."
        )
    if sampler["images"] != protocols["text"]["images"]:
        raise Mistake(
            f"{where}: samplers.{need.sampler}.images is {sampler['images']}, but "
            f"protocols.text.images is {protocols['text']['images']}; set both to one number."
        )


def counts(study, where):
    """Mistake where the numbers of captions, as far as the study states them, do not fit."""
    stated = study.spec.get("captions", {})
    for split in ("train", "val"):
        made = study.spec["data"].get(split) if study.makes_data else None
        if made is not None and stated.get(split, made) != made:
            raise Mistake(
                f"{where}: captions.{split} is {stated[split]}, but the shards are made of the "
                f"{made} images of data.{split}; set both to one number."
            )
    for run in study.runs.values():
        batch, held = run.settings.optim.batch, stated.get("train")
        if run.settings.reads_text and held is not None and batch > held:
            raise Mistake(
                f"{where}: optim.batch of {run.name} is {batch}, but captions.train is {held}; "
                "lower the one or raise the other."
            )
    for name, prompts in study.spec.get("prompts", {}).items():
        held = stated.get(prompts.get("split"))
        if held is not None and prompts["count"] > held:
            raise Mistake(
                f"{where}: prompts.{name}.count is {prompts['count']}, but captions."
                f"{prompts['split']} is {held}; lower the one or raise the other."
            )
