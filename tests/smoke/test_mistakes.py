"""A user's mistake ends in one sentence with the cure, and nothing that was finished is lost."""

import json
import os
import shutil
from pathlib import Path

import pytest

from gear.launch import slurm

# all that Debian's slurm-client holds; a PATH without these is a machine without SLURM
SLURM = set(slurm.PROGRAMS) | {"sacct", "sacctmgr", "salloc", "sattach", "sbcast", "sdiag"}
SLURM |= {"sprio", "sreport", "srun", "sshare", "sstat", "strigger", "sview", "scrontab"}


def last_line(text):
    return [line for line in text.splitlines() if line.strip()][-1]


@pytest.fixture
def path_without_slurm(tmp_path, monkeypatch):
    """An empty folder in front of a PATH that has every program of this machine but SLURM's."""
    own, others = tmp_path / "own", tmp_path / "others"
    own.mkdir()
    others.mkdir()
    for folder in os.get_exec_path():
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            link = others / program.name
            if program.name not in SLURM and not link.is_symlink():
                link.symlink_to(program)
    monkeypatch.setenv("PATH", f"{own}:{others}")
    return own


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
def test_a_wrong_command_says_what_to_say(checkout, arguments, sentence):
    status, text = checkout.forked("--cores", "1", *arguments)
    assert status != 0 and sentence in last_line(text), text


@pytest.mark.parametrize(
    "programs, sentence",
    [
        ((), "there is no SLURM here (sinfo is not on the PATH)"),
        (("sinfo",), "Neither 'sacct' nor 'squeue' commands are available"),
        (("squeue",), "SLURM is not complete here: sinfo, scontrol, sbatch, scancel not found"),
        (("sinfo", "squeue"), "SLURM is not complete here: scontrol, sbatch, scancel not found"),
        (slurm.PROGRAMS, "SLURM does not answer (error: Unable to contact the controller)"),
    ],
)
def test_a_missing_partial_or_silent_slurm_is_said_before_any_job(
    checkout, path_without_slurm, programs, sentence
):
    for name in programs:
        program = path_without_slurm / name
        program.write_text("#!/bin/sh\necho 'error: Unable to contact the controller' >&2; exit 1")
        program.chmod(0o755)
    chosen = ("--config", "study=smoke", "results=queued")
    status, text = checkout.run("snakemake", "quick", "--profile", "slurm", *chosen)
    assert status != 0 and "Traceback" not in text, text
    assert last_line(text).startswith("gear: ") and sentence in last_line(text), text
    assert "without a cluster" in last_line(text)
    assert not (checkout.folder / "queued").exists()


def test_sinfo_alone_is_one_sentence_without_a_cluster_too(checkout, path_without_slurm):
    """Snakemake imports its SLURM plug-in for a local run, too."""
    program = path_without_slurm / "sinfo"
    program.write_text("#!/bin/sh\nexit 1")
    program.chmod(0o755)
    status, text = checkout.run("snakemake", "-n", "components", "--config", "study=smoke")
    assert status != 0 and "Traceback" not in text and "take sinfo off the PATH" in last_line(text)


@pytest.mark.parametrize(
    "file, old, new, sentence",
    [
        ("runs.yaml", "loss.gan: 0.0}", "loss.gam: 0.0}", "Did you mean 'loss.gan'?"),
        ("tables.yaml", "run: gear-l-no-gan@400k", "run: gear-l-no-gan@40k", "no step '40k'"),
        ("studies/smoke.yaml", "together: true", "togethr: true", "Did you mean 'together'?"),
    ],
)
def test_a_wrong_line_in_config_is_named_before_any_job(edited_checkout, file, old, new, sentence):
    """One of each file; tests/unit/test_registry_mistakes.py has them all."""
    path = edited_checkout.folder / "config" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    status, printed = edited_checkout.snakemake("all")
    assert status != 0 and sentence in last_line(printed), printed


def test_a_half_written_result_is_named_and_made_again(checkout):
    name = "metrics/joint/gear-l/400k/plain.json"
    path = checkout.folder / "results/smoke" / name
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    status, text = checkout.snakemake("components", "--forcerun", "make_table")
    assert status != 0 and name in text and "no JSON" in text
    assert "Traceback" not in text
    path.unlink()
    status, text = checkout.snakemake("components")
    assert status == 0, text[-3000:]
    assert json.loads(path.read_text()) == json.loads(whole)
    assert checkout.snakemake("all")[0] == 0


def test_an_unreadable_image_is_named(checkout):
    """The finished results stay as they are. tests/unit/test_data.py has the other faults."""
    data, kept = checkout.folder / "data", checkout.folder / "data.kept"
    shutil.copytree(data, kept)
    try:
        next((data / "digits-smoke/train/3").glob("*.png")).write_bytes(b"no image")
        target = "elsewhere/smoke/tokenizer/vq/400k/weights.safetensors"
        status, text = checkout.snakemake(target, results="elsewhere")
    finally:
        shutil.rmtree(data)
        kept.rename(data)
    assert status != 0 and "Traceback" not in text
    said, last = [line for line in text.splitlines() if line.startswith("gear: ")]
    assert "400k.txt ends with: gear.tokenizer.train: data/digits-smoke" in said
    assert "cannot be read as an image" in said and last.endswith("goes on from here.")
    assert checkout.snakemake("all")[0] == 0
