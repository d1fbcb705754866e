"""What gear doctor says of text to image: shards, text encoder, features and prompts."""

import shutil

import encoders
import pytest

from gear import config
from gear.cli import captions
from gear.plan.targets import wanted
from gear.study.registry import Study

TEXT = config.Text(**encoders.TEXT)


def found(study, target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [(f.state, f.subject, f.said) for f in captions.captions(study, wanted(study, target))]


def test_a_class_conditional_target_needs_none(paper, tmp_path, monkeypatch):
    assert found(paper, "temperature", tmp_path, monkeypatch) == []


def test_the_paper_needs_all_of_it(paper, tmp_path, monkeypatch):
    lines = found(paper, "t2i_benchmarks", tmp_path, monkeypatch)
    missing = [(subject, said) for state, subject, said in lines if state == "missing"]
    assert len(missing) == len(lines)
    subjects = [subject for subject, _ in missing]
    assert subjects[:4] == ["captions", "encoder", "weights", "reference"]
    assert subjects[4:] == ["prompts", "weights", "weights", "reference"]  # of COCO alone
    said = dict(missing)["encoder"]
    assert said.startswith(
        "weights/Qwen3-1.7B (Qwen3-1.7B) is not there; put its files there (Qwen/"
    )
    assert "link http" in said and "text_encoder.weights" in said
    assert "data/gpic/train does not exist" in dict(missing)["captions"]
    assert "GPIC" in dict(missing)["captions"]


def test_only_the_prompts_that_are_drawn_are_looked_for(paper, tmp_path, monkeypatch):
    subjects = [subject for _, subject, _ in found(paper, "gpic", tmp_path, monkeypatch)]
    assert subjects == ["captions", "encoder", "weights", "reference", "prompts"]


def test_the_smoke_study_makes_its_own(smoke, tmp_path, monkeypatch):
    lines = found(smoke, "gpic", tmp_path, monkeypatch)
    assert {state for state, _, _ in lines} == {"ok"}
    assert any("made by the rule make_shards" in said for _, _, said in lines)
    assert any("a stand-in that the study makes" in said for _, _, said in lines)


def test_what_is_there_is_found(edited_config, encoder_folder, tmp_path, monkeypatch):
    folder = edited_config("studies/paper.yaml", "Qwen/Qwen3-1.7B}}", "Qwen/Qwen3-1.7B}} ")
    study = Study("paper", "results", folder)
    for split in ("train", "val"):
        (tmp_path / "data/gpic" / split).mkdir(parents=True)
        (tmp_path / "data/gpic" / split / "0.tar").touch()
    (tmp_path / "weights").mkdir()
    for entry in study.spec["prompts"].values():
        if "file" in entry:
            text = '{"prompt": "a"}\n' * entry["count"]
            (tmp_path / entry["file"]).write_text(text)
    shutil.copytree(encoder_folder, tmp_path / "weights/Qwen3-1.7B")
    lines = found(study, "t2i_benchmarks", tmp_path, monkeypatch)
    told = {subject: (state, said) for state, subject, said in lines}
    assert told["captions"] == ("ok", "data/gpic/val: 1 shard")
    assert told["prompts"][0] == "ok" and "prompts" in told["prompts"][1]
    assert told["encoder"][0] == "missing" and "of width 64" in told["encoder"][1]


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return {"kind": "pretrained", "label": "Qwen3", "weights": "weights/q"}


def test_an_encoder_of_the_right_width_is_named_with_its_hashes(spec, encoder_folder):
    finding = captions.encoder(spec | {"weights": str(encoder_folder)}, TEXT)
    assert finding.state == "ok" and "model.safetensors sha256 " in finding.said
    wrong = spec | {"weights": str(encoder_folder), "sha256": "0" * 64}
    assert captions.encoder(wrong, TEXT).state == "missing"


def test_a_pinned_revision_is_downloaded(spec):
    hub = {"repo": "them/q", "revision": "a" * 40}
    finding = captions.encoder(spec | {"hub": hub}, TEXT)
    assert finding.state == "note" and "will be downloaded from them/q at aaaa" in finding.said


def test_prompts_that_are_too_few_or_broken(tmp_path):
    file = tmp_path / "p.txt"
    file.write_text("a\nb\n")
    assert captions.prompts("test", {"file": str(file), "count": 2}).state == "ok"
    finding = captions.prompts("test", {"file": str(file), "count": 3})
    assert finding.state == "missing" and "holds 2 prompts, prompts.test.count is 3" in finding.said
    file.write_text("a\n\n")
    assert "prompts.test: " in captions.prompts("test", {"file": str(file), "count": 1}).said
