"""Mistakes and accidents: one sentence with the cure, and nothing that was finished is lost."""

import os
import shutil
import signal
import subprocess
import sys
import time

import mounts
import pytest

from gear.artifacts import records

R = "results/mini"
WEIGHTS = f"{R}/joint/a/400k/weights.safetensors"


def test_code_that_is_not_committed(built):
    (built.folder / "gear/cli/main.py").open("a").write("# changed\n")
    assert "gear/cli/main.py differ from the last commit" in built.refused("save", R)
    assert not list((built.folder / R).rglob("*.prov.json"))


def test_an_output_without_a_record(built):
    (built.folder / R / "tables/old.csv").write_text("1\n")
    assert f"no record of {R}/tables/old.csv" in built.refused("save", R)


def test_a_hidden_file_of_large_values_is_nobodys_output(built):
    hidden = built.folder / R / "joint/a/400k/.tokens-1-2.npy"
    hidden.write_bytes(b"values")
    built.artifacts("save", R)
    assert hidden.exists()
    listed = built.folder.glob(f"{R}/**/*.dvc"), built.folder.glob(f"{R}/**/*.prov.json")
    assert not any(".tokens" in file.read_text() for files in listed for file in files)


def test_an_output_that_is_half_finished(built):
    name = records._file(WEIGHTS).name
    mark = built.folder / ".snakemake/incomplete" / name
    mark.write_text("{}")
    assert f"{WEIGHTS} is half-finished" in built.refused("save", R)
    mark.unlink()
    (built.folder / WEIGHTS).unlink()
    assert f"{WEIGHTS} is gone" in built.refused("save", R)


def test_a_running_snakemake(built):
    (built.folder / ".snakemake/locks").mkdir(exist_ok=True)
    (built.folder / ".snakemake/locks/0.output.lock").write_text(WEIGHTS)
    assert "Snakemake is running here" in built.refused("save", R)


def test_an_input_that_changed_since(built):
    os.utime(built.folder / WEIGHTS)  # 1.5 MB: its content was not noted
    assert f"from another {WEIGHTS}" in built.refused("save", R)
    (built.folder / "data/mini/manifest.json").write_text("2\n")
    assert "from another data/mini/manifest.json" in built.refused("save", f"{R}/joint")


def test_records_of_another_snakemake(built):
    file = built.folder / records._file(WEIGHTS)
    text = file.read_text()
    file.write_text(text.replace('"record_format_version": 6', '"record_format_version": 7'))
    assert "has format 7" in built.refused("save", R)


@pytest.mark.parametrize(
    "command, sentence",
    [
        (("save",), "say what to save"),
        (("save", "reproduced/demo"), "git ignores reproduced/demo"),
        (("save", "results/none"), "Snakemake made nothing under results/none"),
        (("push", "results/mimi"), "nothing was saved under 'results/mimi'. Did you mean"),
        (("pull", "../elsewhere"), "is no folder of results"),
        (("check", R, "--states"), "there is no option --states. Known: --help"),
        (("remote", "s3://bucket/gear"), "pip install dvc-s3"),
        (("remote", ""), "'' is no folder for a remote"),
        (("remote", "results/remote"), "name one outside this repository"),
        (("remote", "s3:/bucket/gear"), "no folder for a remote"),
        (("remote", "/proc/nothing"), "the folder /proc/nothing cannot be made"),
        (("remote", "ftp://host/gear"), "name a folder, s3://bucket/path"),
        (("pull", R), "no remote is set; name one first: gear artifacts remote URL"),
    ],
)
def test_a_wrong_command(mini_saved, tmp_path_factory, command, sentence):
    folder = tmp_path_factory.getbasetemp() / "mistaken"
    clone = type(mini_saved)(folder) if folder.exists() else mini_saved.clone(folder)
    assert sentence in clone.refused(*command)


def test_a_remote_folder_that_is_gone(clone, remote):
    """Its disk is not mounted, say. Nothing is made in its place."""
    shutil.rmtree(remote)
    for action in ("push", "pull"):
        told = clone.refused(action, R)
        assert f"the remote {remote} is not there; mount its disk" in told
    assert not remote.exists()


@pytest.mark.slow
def test_a_remote_that_cannot_be_written(clone, remote):
    with mounts.disk("9m") as disk:
        shutil.copytree(remote, disk.folder / "remote")
        disk.remount("ro")
        clone.artifacts("remote", str(disk.folder / "remote"))
        clone.artifacts("pull", R, "data")
        clone.mini("table", "--config", "setting=2")
        clone.artifacts("save", R)
        told = clone.refused("push", R)
        assert "check that you may read and write there" in told, told
        disk.remount("rw")
        clone.artifacts("push", R)
    clone.artifacts("check", R)


@pytest.mark.slow
def test_a_cache_that_cannot_be_written(built):
    with mounts.disk("1m") as disk:
        built.run("dvc", "cache", "dir", "--local", str(disk.folder))
        disk.remount("ro")
        assert "check that you may read and write there" in built.refused("save", R)
    assert not list((built.folder / R).rglob("*.dvc"))


@pytest.mark.slow
def test_an_object_that_the_remote_lacks_or_has_damaged(clone, remote):
    """By turns: gone, damaged and seen by dvc, damaged and passed on."""
    kept = clone.cached(f"{R}/joint/a.dvc")
    there = remote / kept.relative_to(clone.folder / ".dvc/cache")
    whole = there.read_bytes()
    there.rename(there.with_name("kept"))
    for content, verify in ((None, "true"), (b"no", "true"), (b"no", "false")):
        if content:
            there.write_bytes(content)
            there.chmod(0o444)
        clone.run("dvc", "remote", "modify", "--local", "storage", "verify", verify)
        told = clone.artifacts("pull", R, fails=True)
        assert WEIGHTS in told and (verify == "true") == ("neither in the cache" in told)
        assert clone.folder.joinpath(R, "samples/joint/a/400k/plain.npz").exists()
        assert not content or there.read_bytes() == content
    assert WEIGHTS in clone.artifacts("check", fails=True)
    there.chmod(0o644)
    there.write_bytes(whole)
    (clone.folder / WEIGHTS).unlink()
    kept.unlink()
    clone.artifacts("pull", R)
    clone.artifacts("check")


@pytest.mark.slow
def test_an_object_that_the_cache_lacks_or_has_damaged(clone):
    clone.artifacts("pull", R)
    kept, weights = clone.cached(f"{R}/joint/a.dvc"), clone.folder / WEIGHTS
    whole = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(whole)  # no link into the cache
    kept.chmod(0o644)
    kept.write_bytes(b"damaged")
    told = clone.artifacts("check", fails=True)
    assert "damaged in the cache" in told and str(kept) in told and WEIGHTS in told
    assert kept.read_bytes() == b"damaged" and weights.read_bytes() == whole
    kept.unlink()
    assert "missing in the cache" in clone.artifacts("check", fails=True)
    clone.artifacts("remote", str(clone.folder.parent / "empty"))
    told = clone.refused("push", R)
    assert WEIGHTS in told and "neither locally nor on remote" in told
    clone.artifacts("save", R)
    clone.artifacts("check")


@pytest.mark.slow
def test_a_push_that_is_killed(mini_saved, tmp_path):
    target = tmp_path / "remote"
    made = mini_saved.clone(tmp_path / "clone", mini_saved.folder.parent / "remote")
    made.artifacts("pull", R)
    made.artifacts("remote", str(target))
    command = ("gear", "artifacts", "push", R)
    environment = dict(os.environ, PYTHONPATH=str(made.folder))
    environment["PATH"] = f"{os.path.dirname(sys.executable)}:{environment['PATH']}"
    push = subprocess.Popen(command, cwd=made.folder, env=environment, start_new_session=True)
    while push.poll() is None and not list(target.rglob("*")):
        time.sleep(0.001)
    os.killpg(push.pid, signal.SIGKILL)
    assert push.wait() == -signal.SIGKILL, "it was done before its kill came"
    made.artifacts("push", R)
    fresh = made.clone(tmp_path / "fresh", target)
    fresh.artifacts("pull", R)
    fresh.artifacts("check")


@pytest.mark.slow
def test_a_full_disk(built):
    with mounts.disk("1m") as disk:
        built.run("dvc", "cache", "dir", "--local", str(disk.folder))
        assert "free some space" in built.refused("save", R)
    assert not list((built.folder / R).rglob("*.dvc"))
    assert (built.folder / WEIGHTS).exists()
    built.run("dvc", "cache", "dir", "--local", "--unset")
    built.artifacts("save", R)
