"""A user's mistake ends in one sentence with the cure, and nothing that was finished is lost."""

import json
import os
import shutil

import pytest


def last_line(text):
    return [line for line in text.splitlines() if line.strip()][-1]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("all", "--config", "study=dmo"), "no study 'dmo'. Did you mean 'demo'?"),
        (("all",), "no study is chosen; add --config study=demo"),
        (("all", "--config", "results=x"), "no study is chosen"),
        (("all", "--config", "study=smoke", "seed=3"), "--config has no 'seed'"),
        (("-n", "--profile", "slurm", "--config", "results=x"), "no study is chosen"),
        (("componens", "--config", "study=smoke"), "Did you mean 'components'?"),
    ],
)
def test_a_wrong_command_says_what_to_say(house, arguments, sentence):
    status, text = house.run("snakemake", "--cores", "1", *arguments)
    assert status != 0 and sentence in last_line(text), text


def test_a_slurm_that_does_not_answer_is_said_before_any_job(house, tmp_path, monkeypatch):
    sinfo = tmp_path / "sinfo"
    sinfo.write_text("#!/bin/sh\necho 'sinfo: error: Unable to contact the controller' >&2; exit 1")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    chosen = ("--config", "study=smoke", "results=queued")
    status, text = house.run("snakemake", "quick", "--profile", "slurm", *chosen)
    assert status != 0 and "--workflow-profile workflow/profiles/local." in last_line(text), text
    assert "SLURM does not answer (sinfo: error: Unable" in last_line(text), text
    assert not (house.folder / "queued").exists()


@pytest.mark.parametrize(
    "file, old, new, sentence",
    [
        ("runs.yaml", "loss.gan: 0.0}", "loss.gam: 0.0}", "Did you mean 'loss.gan'?"),
        ("runs.yaml", "loss.gan: 0.0}", "loss.gan: none}", "it must be a number"),
        ("runs.yaml", "{from: gear-l, ar.size: b}", "{from: gear-m}", "Did you mean 'gear-l'?"),
        ("tables.yaml", "run: gear-l-no-gan@400k", "run: gear-l-nogan@400k", "Did you mean"),
        ("tables.yaml", "run: gear-l-no-gan@400k", "run: gear-l-no-gan@40k", "no step '40k'"),
        ("tables.yaml", 'paper: "w/o L_GAN"', 'paper: "w/o GAN"', "Did you mean 'w/o L_GAN'?"),
        ("studies/smoke.yaml", "components,", "component,", "Did you mean 'components'?"),
        ("studies/smoke.yaml", "together: true", "togethr: true", "Did you mean 'together'?"),
        ("studies/smoke.yaml", "batch: 8, lr_tok", "batch: '8', lr_tok", "must be a whole number"),
    ],
)
def test_a_wrong_line_in_config_is_named_before_any_job(edited, file, old, new, sentence):
    path = edited.folder / "config" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    status, printed = edited.snakemake("all")
    assert status != 0 and sentence in last_line(printed), printed


def test_a_half_written_result_is_named_and_made_again(house):
    name = "metrics/joint/gear-l/400k/plain.json"
    path = house.folder / "results/smoke" / name
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    status, text = house.snakemake("components", "--forcerun", "make_table")
    assert status != 0 and name in text and "no JSON" in text
    assert "Traceback" not in text
    path.unlink()
    status, text = house.snakemake("components")
    assert status == 0, text[-3000:]
    assert json.loads(path.read_text()) == json.loads(whole)
    assert house.snakemake("all")[0] == 0


def broken_data(house, spoil):
    """What training says on a spoilt copy of the data; the finished results stay as they are."""
    data, kept = house.folder / "data", house.folder / "data.kept"
    shutil.copytree(data, kept)
    try:
        spoil(data / "digits-smoke")
        target = "elsewhere/smoke/tokenizer/vq/400k/weights.safetensors"
        return house.snakemake(target, results="elsewhere")
    finally:
        shutil.rmtree(data)
        kept.rename(data)


def test_an_unreadable_image_is_named(house):
    def spoil(data):
        next((data / "train" / "3").glob("*.png")).write_bytes(b"no image")

    status, text = broken_data(house, spoil)
    assert status != 0 and "cannot be read as an image" in text and "Traceback" not in text
    assert house.snakemake("all")[0] == 0


def test_an_empty_data_folder_is_named(house):
    status, text = broken_data(house, lambda data: shutil.rmtree(data / "train"))
    assert status != 0 and "train does not exist" in text and "Traceback" not in text


def test_an_empty_class_is_named(house):
    def spoil(data):
        for path in (data / "train" / "7").iterdir():
            path.unlink()

    status, text = broken_data(house, spoil)
    assert status != 0 and "7 holds no images" in text and "Traceback" not in text
