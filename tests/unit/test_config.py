"""Settings: what fits and what is refused; what travels to a job. Sizes of the paper's networks.

Settings are compared before and after their journey, and the networks' sizes with published counts.
"""

import dataclasses
import json

import pytest
import torch

from gear import config
from gear.alignment.projector import projector
from gear.ar.transformer import Transformer
from gear.study import jobs
from gear.study.registry import CONFIG, Study
from gear.tokenizer.autoencoder import Tokenizer
from gear.tokenizer.discriminator import PatchGAN

# mistakes


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            {"joint.temprature": 0.1},
            "unknown setting 'joint.temprature'. Did you mean 'joint.temperature'?",
        ),
        ({"joint": {"temprature": 1.0}}, "Did you mean 'joint.temperature'?"),
        ({"data": 3}, "unknown setting 'data'. Did you mean 'data.path'?"),
        (
            {"joint.readout": "sofft"},
            "setting 'joint.readout' cannot be 'sofft'. Did you mean 'soft'?",
        ),
        (
            {"joint.readout": "hard"},
            "setting 'joint.readout' cannot be 'hard'. Known: soft, straight_through.",
        ),
        (
            {"joint.tokenizer_losses": ["allign"]},
            "setting 'joint.tokenizer_losses' cannot be 'allign'. Did you mean 'align'?",
        ),
        ({"joint.tokenizer_losses": "align"}, "is 'align'; it must be a list."),
        ({"optim.batch": "8"}, "setting 'optim.batch' is '8'; it must be a whole number."),
        ({"optim.batch": 8.0}, "setting 'optim.batch' is 8.0; it must be a whole number."),
        ({"optim.batch": True}, "setting 'optim.batch' is True; it must be a whole number."),
        # YAML reads 1e-4 as text
        (
            {"optim.lr_ar": "1e-4"},
            "setting 'optim.lr_ar' is '1e-4'; it must be a number, such as 1.0e-4.",
        ),
        ({"loss.gan": False}, "setting 'loss.gan' is False; it must be a number, such as 1.0e-4."),
        ({"loss.gan": None}, "setting 'loss.gan' is None; it must be a number"),
        ({"data.flip": 1}, "setting 'data.flip' is 1; it must be true or false."),
        ({"tokenizer.quantizer": 5}, "setting 'tokenizer.quantizer' is 5; it must be text."),
        ({"tokenizer.multipliers": [1, "a"]}, "setting 'tokenizer.multipliers' is 'a'; it must"),
        ({"tokenizer.multipliers": [1, 1.5]}, "setting 'tokenizer.multipliers' is 1.5; it must"),
        ({"optim.betas": [0.9]}, "setting 'optim.betas' is [0.9]; it must be a list of 2 values."),
        ({"align.tokenizer_weight": "x"}, "is 'x'; it must be a number, such as 1.0e-4."),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_its_cure(overrides, message):
    with pytest.raises(ValueError) as error:
        config.build(overrides, "runs.yaml, gear-x")
    assert str(error.value).startswith("runs.yaml, gear-x: ")
    assert message in str(error.value)


def test_values_are_converted_to_the_type_of_their_setting():
    settings = config.build(
        {
            "loss": {"gan": 1},
            "optim.betas": [0, 0.5],
            "joint.tokenizer_losses": [],
            "align.tokenizer_weight": 3,
        }
    )
    assert settings.loss.gan == 1.0 and type(settings.loss.gan) is float
    assert settings.optim.betas == (0.0, 0.5)
    assert settings.joint.tokenizer_losses == ()
    assert type(settings.align.tokenizer_weight) is float
    assert config.build({"align.tokenizer_weight": None}).align.tokenizer_weight is None


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.Settings().seed = 1


# what travels to a job


@pytest.mark.parametrize("study", ["smoke", "demo", "paper"])
def test_every_run_survives_the_journey_to_its_job(study):
    for run in Study(study).runs.values():
        text = config.dumps(run.settings)
        assert "\n" not in text and config.build(json.loads(text)) == run.settings
        difference = config.difference(run.settings)
        assert config.build(difference) == run.settings
        resolved = json.loads(json.dumps(dataclasses.asdict(run.settings)))  # as in run.json
        assert config.build(resolved) == run.settings


def test_only_what_differs_from_the_defaults_travels():
    assert config.dumps(config.Settings()) == "{}"
    changed = config.build({"joint.temperature": 0.2, "ar.size": "l", "seed": 4})
    assert config.dumps(changed) == '{"joint.temperature":0.2,"seed":4}'


def every_job(study):
    """{(run, step): line} of all trainings."""
    return {
        (name, step): jobs.training(study, name, step)
        for name, run in study.runs.items()
        for step in run.steps
    }


def test_a_new_setting_with_a_default_changes_no_job(smoke, monkeypatch):
    before = every_job(smoke)
    joint = dataclasses.make_dataclass(
        "Joint", [("novelty", float, 0.5)], bases=(config.Joint,), frozen=True
    )
    settings = dataclasses.make_dataclass(
        "Settings",
        [("joint", joint, dataclasses.field(default_factory=joint))],
        bases=(config.Settings,),
        frozen=True,
    )
    monkeypatch.setattr(config, "Settings", settings)
    monkeypatch.setattr(config, "TYPES", dict(config._fields(settings)))
    study = Study("smoke")
    assert study.runs["gear-l"].settings.joint.novelty == 0.5
    assert every_job(study) == before


def test_snakemake_compares_a_job_without_the_settings_that_change_no_result(edited_config):
    """It keeps the repr of a param; the job receives the text."""

    def job(file=None, old="", new=""):
        folder = edited_config(file, old, new) if file else CONFIG
        return jobs.training(Study("smoke", folder=folder), "vq", "400k")

    plain = job()
    free = job("studies/smoke.yaml", "threads: 1,", "threads: 3, loggers: [wandb],")
    assert json.loads(free)["settings"]["runtime.threads"] == 3
    assert f"{free}" != f"{plain}" and repr({"json": free}) == repr({"json": plain})
    assert "runtime.precision" in repr(plain)
    other = job("studies/smoke.yaml", "precision: fp32", "precision: bf16")
    assert repr(other) != repr(plain)


def test_a_training_is_told_its_steps_and_an_evaluation_only_what_concerns_it(smoke):
    assert json.loads(jobs.training(smoke, "vq", "400k")).items() >= {"start": 0, "stop": 2}.items()
    segment = json.loads(jobs.training(smoke, "llamagen-repa-l", "1500k"))
    assert (segment["start"], segment["stop"]) == (2, 3)
    assert segment["settings"] == json.loads(config.dumps(smoke.runs["llamagen-repa-l"].settings))
    asked = json.loads(jobs.evaluation(smoke, "llamagen-repa-l", ("cfg",)))
    assert {k.split(".")[0] for k in asked["settings"]} <= {"data", "tokenizer", "joint", "runtime"}
    assert asked["samplers"] == {"cfg": {"images": 64, "guidance": 1.5}}
    # so a changed learning rate re-runs the training, whose output then re-runs the evaluation
    assert not any("lr" in key for key in asked["settings"])


# the paper's networks, to the parameter


@pytest.fixture
def undrawn(monkeypatch):
    """Weights are not drawn, so their memory is never touched. (Torch's meta device would load its
    compiler for the few computed values, 7 s.)"""
    for name in ("normal_", "uniform_"):
        monkeypatch.setattr(torch.Tensor, name, lambda tensor, *_, **__: tensor)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    "run, count", [("gear-b", 110_888_448), ("gear-l", 342_910_976), ("gear-xl", 774_699_520)]
)
def test_size_of_the_paper_s_transformers(paper, undrawn, run, count):
    settings = paper.runs[run].settings
    tokens = settings.data.resolution // settings.tokenizer.downsampling
    assert (tokens, settings.tokenizer.codebook_size, settings.data.classes) == (16, 16384, 1000)
    assert settings.ar.dim == 64 * settings.ar.heads
    assert parameters(Transformer(settings.ar, 16384, 1000, tokens)) == count


@pytest.mark.parametrize(
    "size, head, count",
    [("s", 32, 34_210_560), ("xxl", 64, 1_410_972_672), ("xxxl", 64, 3_893_027_840)],
)
def test_size_of_llamagen_s_other_transformers(paper, undrawn, size, head, count):
    shape = {k: v for k, v in paper.spec["sizes"][size].items() if k != "depth"}
    assert shape["dim"] == head * shape["heads"]
    ar = Transformer(config.AR(size=size, **shape), 16384, 1000, 16)
    assert parameters(ar) == count


@pytest.mark.parametrize("run, count", [("b", 7_344_896), ("l", 7_869_184), ("xl", 8_393_472)])
def test_size_of_the_paper_s_projectors(paper, undrawn, run, count):
    """To the 768 channels of DINOv2-B."""
    settings = paper.runs[f"gear-{run}"].settings
    assert parameters(projector(settings.ar.dim, settings.align.projector_dim, 768)) == count


@pytest.mark.parametrize(
    "run, encoder, decoder, count",
    [
        ("vq", 29_298_176, 42_449_795, 71_883_403),
        ("lfq", 49_749_390, 65_344_643, 115_094_033),
        ("ibq", 46_752_256, 59_903_875, 110_982_019),
    ],
)
def test_size_of_the_paper_s_tokenizers(paper, undrawn, run, encoder, decoder, count):
    settings = paper.runs[run].settings
    tokenizer = Tokenizer(settings.tokenizer, settings.data.channels)
    assert parameters(tokenizer.encoder) == encoder
    assert parameters(tokenizer.decoder) == decoder
    assert parameters(tokenizer) == count
    assert tokenizer.downsampling == 16


def test_size_of_the_paper_s_discriminator(paper, undrawn):
    loss = paper.runs["vq"].settings.loss
    assert parameters(PatchGAN(3, loss.disc_channels, loss.disc_layers)) == 2_765_633


def test_the_paper_s_constants(paper):
    """Tables 15 and 16."""
    settings = paper.runs["gear-l"].settings
    assert settings.joint == config.Joint("soft", 0.1, ("align",), "both")
    assert (settings.align.weight, settings.align.layer) == (0.5, 8)
    assert (settings.loss.gan, settings.loss.entropy, settings.loss.lpips) == (0.1, 0.05, 0.1)
    assert (settings.optim.batch, settings.optim.ema, settings.optim.clip) == (256, 0.9999, 1.0)
    assert [paper.runs[f"gear-{s}"].settings.align.layer for s in ("b", "l", "xl")] == [4, 8, 12]
