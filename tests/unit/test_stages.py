"""The table of stages says what the trainers, the rules and config/ have.

Rules, trainers and config/ are read and compared with the table.
"""

import importlib
import re

import pytest
import yaml

from gear.study.configfiles import CONFIG, read_entries, studies
from gear.study.needs import FILES, Checkpoint, Need
from gear.study.registry import Study
from gear.study.specs import figures
from gear.study.stages import STAGES

ROOT = CONFIG.parent
RULES = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / "workflow/rules").glob("*.smk")}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_row_says_what_its_trainer_trains(stage, tiny_networks, smoke_settings):
    trainer = tiny_networks.trainer(stage.name, smoke_settings())
    assert set(trainer.modules) == set(stage.trains)
    assert set(trainer.averages) == set(stage.averages)
    assert hasattr(trainer, "teacher") == stage.aligns
    assert callable(importlib.import_module(stage.module).main)
    own = f"{stage.module.replace('.', '/')}.py"
    assert any(own.startswith(folder) for folder in stage.code)
    assert all((ROOT / folder).exists() for folder in stage.code)


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_row_has_a_rule_that_calls_its_module(stage):
    text = "".join(RULES.values())
    rule = re.search(rf"^rule train_{stage.name}:\n.*?(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)
    assert f'LAUNCH + "{stage.module} --job' in rule.group()
    assert f"{{R}}/{stage.name}/{{{{run}}}}/{{{{step}}}}/weights.safetensors" in rule.group()
    assert ("--teacher" in rule.group()) == stage.aligns


def test_config_has_the_stages_of_the_table():
    registry = yaml.safe_load((CONFIG / "runs.yaml").read_text(encoding="utf-8"))
    assert set(registry) - {"milestones"} == set(STAGES)
    devices = yaml.safe_load((CONFIG / "devices.yaml").read_text(encoding="utf-8"))
    rates = [rates for device in devices.values() for rates in device["tflops"].values()]
    assert rates and all(set(each) - {"draw"} == set(STAGES) for each in rates)
    for name in studies():
        study = Study(name)
        assert set(study.spec["milestones"]) == set(study.stages)
        assert {run.stage for run in study.runs.values()} == set(study.stages)


def test_a_run_starts_from_runs_of_stages_with_a_tokenizer(paper):
    for run in paper.runs.values():
        assert run.tokenizer is None or STAGES[run.tokenizer.stage].owns_tokenizer
        assert run.tokenizer or STAGES[run.stage].owns_tokenizer


@pytest.mark.parametrize("kind", FILES)
def test_a_need_is_a_file_that_a_rule_writes(kind):
    for checkpoint in (Checkpoint(stage, "a-run", "1k") for stage in STAGES):
        need = Need(kind, checkpoint, "plain")
        patterns = [need.replace(checkpoint.path, "{{checkpoint}}")]
        patterns += [need.replace(checkpoint.path, f"{checkpoint.stage}/{{{{run}}}}/{{{{step}}}}")]
        patterns = [p.replace("plain", "{{sampler}}") for p in patterns]
        assert any(f'f"{{R}}/{p}"' in text for text in RULES.values() for p in patterns)
        assert Checkpoint.of(checkpoint.path) == checkpoint and str(checkpoint) == "a-run@1k"


def test_a_kind_of_figure_is_a_file_and_stands_nowhere_else(paper):
    entries = read_entries("figures")
    assert {entry["kind"] for entry in entries.values()} == set(figures.KINDS)
    words = set(figures.KINDS) - {"samples", "codebook"}  # which are a noun and a block as well
    for path in [*(ROOT / "gear/study").rglob("*.py"), *(ROOT / "gear/plan").rglob("*.py")]:
        assert not re.findall(rf'"({"|".join(words)})"', path.read_text(encoding="utf-8")), path


def test_an_unknown_kind_of_figure_is_named_with_its_cure(edited_config):
    folder = edited_config("figures.yaml", "kind: bars", "kind: bar")
    with pytest.raises(ValueError, match="system_bars.kind cannot be 'bar'. Did you mean 'bars'?"):
        Study("paper", folder=folder)
