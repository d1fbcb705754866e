"""What must fit together in a study whose runs read captions, said while the study is read."""

import re

import pytest
import yaml

from gear.study import fit, jobs
from gear.study.configfiles import CONFIG
from gear.study.registry import Study
from gear.study.specs.claims import claims_spec

PROTOCOL = "  text: {name: demo_text, neighbours: 3, prdc_images: 64, images: 64}\n"
ENCODER = (
    'text_encoder: {kind: standin, label: "stand-in text encoder (random weights)", layers: 1, '
    "heads: 2, vocabulary: 300, seed: 3}\n"
)
PROMPTS = "prompts:\n  val: {split: val, count: 64}\n"
STAGE = "{source: shards, path: data/digits-smoke-shards, hold: stream}"
STEPS = "  t2i: {50k: 1, 100k: 2, 200k: 3, 390k: 4}\n"
SHARDS = STAGE.replace(": shards,", ": digits,")
DATA = "data: {source: digits, hold: memory, path: data/digits-smoke,"

MISFITS = {
    "source of the stage": (
        [(STAGE, SHARDS)],
        "data.source of the stage t2i is digits; set it to shards, in `settings` or in `stages.t2i",
    ),
    "source of the others": (
        [(DATA, "data: {source: shards, hold: stream, path: data/digits-smoke-shards,")],
        "data.source of the stage tokenizer is shards; set it to folder or digits",
    ),
    "no encoder": ([(ENCODER, "")], "has no `text_encoder`, which the stage t2i needs; copy it"),
    "in memory": (
        [("hold: stream}", "hold: memory}")],
        "cannot be held in memory; set data.hold: stream",
    ),
    "unknown prompts": (
        [("text: {images: 64, prompts: val}", "text: {images: 64, prompts: vall}")],
        "samplers.text: study 'smoke' has no prompts 'vall'. Did you mean 'val'?",
    ),
    "images of a sampler": (
        [("text: {images: 64, prompts: val}", "text: {images: 32, prompts: val}")],
        "samplers.text.images is 32, but prompts val are 64 images (count times images); set it to",
    ),
    "images a prompt": (
        [("count: 64}", "count: 64, images: 2}")],
        "samplers.text.images is 64, but prompts val are 128 images (count times images)",
    ),
    "no protocol": ([(PROTOCOL, "")], "has no protocols.text, which the stage t2i needs; add it"),
    "protocol of photographs": (
        [(PROTOCOL, PROTOCOL.replace("demo_text", "fdd"))],
        "protocols.text.name is fdd; set it to demo_text, or add text_features",
    ),
    "images of the protocol": (
        [(PROTOCOL, PROTOCOL.replace("images: 64}", "images: 32}"))],
        "images is 64, but protocols.text.images is 32; set both to one number",
    ),
    "neighbours": (
        [(PROTOCOL, PROTOCOL.replace("neighbours: 3", "neighbours: 64"))],
        "protocols.text.neighbours is 64, which needs more than 64 images, but 64 are compared",
    ),
    "several jobs": (
        [("together: true", "together: false")],
        "scored by one job; set together: true, or add text_features",
    ),
    "captions of other images": (
        [("captions: {train: 128", "captions: {train: 120")],
        "captions.train is 120, but the shards are made of the 128 images of data.train; set both",
    ),
    "more prompts than captions": (
        [
            ("count: 64}\n", "count: 64}\n  more: {split: val, count: 65}\n"),
        ],
        "prompts.more.count is 65, but captions.val is 64; lower the one or raise the other",
    ),
    "batch": (
        [("runtime: {workers: 0}}\n", "runtime: {workers: 0}, optim: {batch: 256}}\n")],
        "optim.batch of llamagen-repa-t2i is 256, but captions.train is 128; lower the one or",
    ),
}


def read(edited_config, edits, study="smoke"):
    for old, new in edits:
        folder = edited_config(f"studies/{study}.yaml", old, new)
    return Study(study, folder=folder)


@pytest.mark.parametrize("name", MISFITS)
def test_a_study_that_contradicts_itself_is_refused(edited_config, name):
    edits, said = MISFITS[name]
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        fit.images(read(edited_config, edits))
    assert str(error.value).startswith("studies/smoke.yaml") and "\n" not in str(error.value)


def test_a_figure_of_classes_has_no_sampler_of_captions(edited_config):
    folder = edited_config("figures.yaml", "samplers: [plain, cfg]", "samplers: [plain, text]")
    said = r"reads classes, but samplers\.text names `prompts`; name another sampler"
    with pytest.raises(ValueError, match=said):
        Study("smoke", folder=folder)


def test_prompts_are_needed_where_no_sampler_names_some(edited_config):
    """Else the sampler's own sentence comes first."""
    edits = [(PROMPTS, ""), (", prompts: val}", "}"), (", prompts: val,", ",")]
    with pytest.raises(ValueError, match="has no `prompts`, which the stage t2i needs; copy it"):
        read(edited_config, edits)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("  text: {name: fdd", "  text: {name: demo_text", "name is demo_text; set it to fdd."),
        ("prompts: coco}", "prompts: test}", "samplers.coco.images is 5000, but prompts test are"),
        ("\n  coco: {inception", "\n  # {inception", "samplers.coco needs protocols.coco; add it."),
        ("text: {images: 50000, p", "text: {images: 5000, p", "are 50000 images (count times"),
    ],
)
def test_the_study_of_photographs(edited_config, old, new, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        read(edited_config, [(old, new)], "paper")


def test_a_study_without_the_stage_needs_none_of_its_parts(edited_config):
    """As a study of a folder of images has them: no captions, no encoder, no prompts."""
    edits = [
        (", gpic, t2i_configuration, t2i_control]", "]"),
        (", t2i_dynamics, t2i_samples]", "]"),
    ]
    edits += [(STEPS, ""), (ENCODER, ""), (PROMPTS, ""), (PROTOCOL, "")]
    edits += [("captions: {train: 128, val: 64, seed: 0}\n", "")]
    edits += [("  text: {images: 64, prompts: val}\n", "")]
    edits += [("  text-cfg1.75: {images: 64, prompts: val, guidance: 1.75}\n", "")]
    study = read(edited_config, edits)
    assert study.captioned is None and jobs.encoder_kind(study) is None
    assert "t2i" not in {run.stage for run in study.runs.values()}
    absent = {"make_shards", "prepare_captions", "make_text_encoder", "train_t2i"}
    assert not absent & set(jobs.rules(study)) and not jobs.imports(study)
    assert absent < set(jobs.rules(Study("smoke")))


def test_the_other_studies_have_what_they_need(paper):
    assert paper.captioned.path == "data/gpic" and paper.captioned.hold == "stream"
    assert jobs.encoder_kind(paper) == "pretrained" and jobs.captions(paper) == "--train 100000000"
    assert Study("demo").captioned.path == "data/digits-shards"


def test_the_block_of_the_document_makes_a_study_of_ones_own_captions(edited_config):
    document = (CONFIG.parent / "docs/text-to-image.md").read_text(encoding="utf-8")
    added = yaml.safe_load(document.split("```yaml\n")[1].split("```")[0])
    folder = edited_config("studies/folder.yaml", "title:", "title:")
    path = folder / "studies/folder.yaml"
    own = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in added.items():
        own[key] = own.get(key, {}) | value
    path.write_text(yaml.safe_dump(own, sort_keys=False), encoding="utf-8")
    study = Study("folder", folder=folder)
    assert study.runs["gear-t2i"].settings.reads_text
    assert {"gpic", "t2i_control"} <= set(study.tables)
    assert "t2i_words" not in study.figures  # it shows the captions of digits
    assert claims_spec(study, "claims_t2i")["left_out"] > 0
