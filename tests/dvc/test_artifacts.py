"""What a clone knows of results that were saved elsewhere, on a study of four quick jobs.

Files, records and plans of a clone are compared with those of the repository that saved them.
"""

import json
import os
from types import SimpleNamespace

import pytest
import yaml
from checkout import ROOT

from gear.artifacts import records, times
from gear.artifacts.units import LARGE, Saved, unit_of

R = "results/mini"
WEIGHTS = f"{R}/joint/a/400k/weights.safetensors"
NOTHING = "Nothing to be done"


@pytest.mark.parametrize(
    "path, unit",
    [
        ("results/demo/joint/a/400k/run.json", "results/demo/joint/a"),
        ("results/demo/samples/ar/k4.5-x/100k/cfg1.25.npz", "results/demo/ar/k4.5-x"),
        ("results/demo/metrics/tokenizer/a/400k/plain.json", "results/demo/tokenizer/a"),
        ("results/demo/analysis/joint/a/400k.json", "results/demo/joint/a"),
        ("results/joint/ar/samples/joint/ar/100k/x.npz", "results/joint/ar/joint/ar"),
        ("results/demo/teacher/dinov2/run.json", "results/demo/teacher/dinov2"),
        ("results/demo/tables/size.csv", "results/demo/tables"),
        ("data/digits/manifest.json", "data"),
    ],
)
def test_all_of_a_run_is_one_unit(path, unit):
    assert unit_of(path) == unit


def planned(text):
    """The rules of a dry run."""
    return {line.split()[1][:-1] for line in text.splitlines() if line.startswith("rule ")}


def test_small_files_are_gits_and_large_ones_dvcs(mini_saved):
    tracked = mini_saved.git("ls-files", "results", "data", "data.dvc").split()
    assert sorted(tracked) == [
        "data.dvc",
        f"{R}/joint/a.dvc",
        f"{R}/joint/a.prov.json",
        f"{R}/joint/a/400k/run.json",
        f"{R}/joint/a/state.dvc",
        f"{R}/metrics/joint/a/400k/plain.json",
        f"{R}/tables.prov.json",
        f"{R}/tables/main.csv",
    ]
    assert mini_saved.git("status", "--porcelain") == ""
    for end in LARGE:
        assert mini_saved.git("check-ignore", f"{R}/joint/a/400k/x{end}")


def test_a_jobs_seconds_are_those_of_its_benchmark_file(mini_saved):
    def saved(unit):
        text = (mini_saved.folder / f"{R}/{unit}.prov.json").read_text()
        return {job["rule"]: job["seconds"] for job in json.loads(text)["jobs"]}

    lines = (mini_saved.folder / R / "joint/a/400k/benchmark.tsv").read_text().splitlines()
    assert lines[0].split("\t")[0] == "s"
    assert saved("joint/a").keys() == {"train", "evaluate"}
    assert saved("joint/a")["train"] == float(lines[1].split("\t")[0]) > 0
    assert str(saved("tables")["table"])[0] != "-"


def test_the_committed_results_say_how_long_their_jobs_took(monkeypatch):
    monkeypatch.chdir(ROOT)
    jobs = [job for job in Saved(["results"]).jobs if not job["rule"].startswith("make_")]
    assert len(jobs) > 100  # rules with a benchmark file: all but the local ones
    assert [job["rule"] for job in jobs if not job["seconds"] > 0] == []


def test_a_record_with_seconds_of_minus_zero_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = json.loads('{"rule": "a", "code": "b", "params": [], "software": "c", "seconds": -0.0}')
    records.write("x", job | {"inputs": {}}, "0" * 64)
    record = records.read("x")
    assert record["starttime"] == record["endtime"] and str(times.seconds(record)) == "0.0"


def test_after_a_pull_there_is_nothing_to_be_done(clone):
    assert "0 of them are not pulled" in clone.artifacts("pull", "data", R)
    assert NOTHING in clone.mini("table", "-n")
    assert NOTHING in clone.mini(WEIGHTS, f"{R}/samples/joint/a/400k/plain.npz", "-n")
    assert not (clone.folder / R / "joint/a/state").exists()
    assert f"{R}: 2 saved, 0 modified, 0 not saved, 0 not pulled" in clone.artifacts("status", R)
    assert planned(clone.mini("table", "-n", "--config", "setting=2")) == {
        "train",
        "evaluate",
        "table",
    }


def test_without_a_remote_the_small_files_count_as_made(mini_saved, tmp_path):
    fresh = mini_saved.clone(tmp_path / "clone")
    assert "3 of them are not pulled" in fresh.artifacts("restore", R)
    assert NOTHING in fresh.mini("table", "-n")
    assert "train" in planned(fresh.mini("table", "-n", "--config", "setting=2"))
    assert "1 not pulled" in fresh.artifacts("status", R)


@pytest.mark.slow
def test_one_table_pulls_what_it_was_made_from(clone):
    assert "there are no large files" in clone.refused("pull", f"{R}/tables")
    clone.artifacts("pull", "--inputs", f"{R}/tables/main.csv")
    assert (clone.folder / WEIGHTS).exists()


@pytest.mark.slow
def test_what_is_pulled_is_below_the_prefix(clone):
    """The .dvc file of a run has more."""
    samples = clone.folder / R / "samples/joint/a/400k/plain.npz"
    clone.artifacts("pull", f"{R}/joint/a/400k")
    assert (clone.folder / WEIGHTS).exists() and not samples.exists()
    clone.artifacts("pull", f"{R}/samples")
    assert samples.exists()


@pytest.mark.slow
def test_a_save_concerns_what_is_below_the_prefix(clone):
    """The rest of a run's record stays as it was."""
    clone.artifacts("pull", R, "data")

    def record():
        jobs = json.loads((clone.folder / R / "joint/a.prov.json").read_text())["jobs"]
        return {path: job["inputs"] for job in jobs for path in job["outputs"]}

    scores = f"{R}/metrics/joint/a/400k/plain.json"
    samples = f"{R}/samples/joint/a/400k/plain.npz"
    before = record()
    clone.mini("table", "--config", "setting=2")
    clone.artifacts("save", f"{R}/metrics")
    half = record()
    assert half[samples] == before[samples] != half[scores]
    clone.artifacts("save", f"{R}/joint/a/400k", f"{R}/samples")
    assert record()[samples] == half[scores]
    clone.artifacts("check", f"{R}/joint")


@pytest.mark.slow
def test_two_people_save_two_runs(mini_saved, tmp_path, remote):
    """Merged by git alone."""
    people = [mini_saved.clone(tmp_path / run, remote) for run in "bc"]
    for run, person in zip("bc", people, strict=True):
        person.artifacts("pull", R, "data")
        person.mini(f"{R}/metrics/joint/{run}/400k/plain.json")
        person.artifacts("save", R)
        person.git("commit", "--quiet", "--message", f"run {run}")
        person.artifacts("push", R)
    b, c = people
    b.git("pull", "--quiet", "--no-rebase", "--no-edit", str(c.folder), "HEAD")
    b.artifacts("pull", R)
    b.artifacts("check", R)
    assert NOTHING in b.mini(*(f"{R}/metrics/joint/{run}/400k/plain.json" for run in "abc"), "-n")


def in_the_older_form(clone):
    """Have a record and a .dvc file for each folder, and benchmark files in git."""
    root = clone.folder / R
    jobs = json.loads((root / "joint/a.prov.json").read_text())["jobs"]
    entries = {e["path"]: e for e in yaml.safe_load((root / "joint/a.dvc").read_text())["outs"]}
    for unit in ("joint/a/400k", "metrics/joint/a/400k", "samples/joint/a/400k"):
        mine = []
        for job in jobs:
            outputs = {p: s for p, s in job["outputs"].items() if p.startswith(f"{R}/{unit}/")}
            mine += [job | {"outputs": outputs}] if outputs else []
        (root / unit).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{unit}.prov.json").write_text(json.dumps({"jobs": mine}))
        for path in (path for job in mine for path in job["outputs"] if path.endswith(LARGE)):
            entry = entries[os.path.relpath(path, f"{R}/joint")]
            entry |= {"path": os.path.relpath(path, os.path.dirname(f"{R}/{unit}"))}
            text = yaml.safe_dump({"outs": [entry]}, sort_keys=False)
            (root / f"{unit}.dvc").write_text(text)
    (root / "joint/a.prov.json").unlink()
    (root / "joint/a.dvc").unlink()
    (root / "joint/a/400k/benchmark.tsv").write_text("s\n1.0\n")
    clone.git("add", "--force", "--all", R)
    clone.git("commit", "--quiet", "--message", "older form")


@pytest.mark.slow
def test_older_records_are_read_and_replaced(clone):
    whole = {p: (clone.folder / R / p).read_text() for p in ("joint/a.prov.json", "joint/a.dvc")}
    in_the_older_form(clone)
    clone.artifacts("restore", R)
    assert NOTHING in clone.mini("table", "-n")
    clone.artifacts("pull", f"{R}/samples", "data")
    clone.artifacts("check")
    assert not (clone.folder / WEIGHTS).exists()
    clone.artifacts("save", f"{R}/metrics")
    assert whole == {path: (clone.folder / R / path).read_text() for path in whole}
    clone.artifacts("save", R)  # benchmark files below the prefix leave git
    tracked = clone.git("ls-files", R).split()
    assert not [path for path in tracked if "400k." in path or path.endswith(".tsv")], tracked
    clone.git("commit", "--quiet", "--message", "form of today")
    assert clone.git("status", "--porcelain") == ""
    clone.artifacts("pull", R)
    clone.artifacts("check")


@pytest.mark.slow
def test_states_come_where_they_are_asked_for(clone):
    clone.artifacts("pull", f"{R}/joint", "--states")
    assert (clone.folder / R / "joint/a/state/3.pt").read_text() == "state 1\n"
    assert not (clone.folder / R / "samples").joinpath("joint/a/400k/plain.npz").exists()


@pytest.mark.slow
def test_a_changed_artifact_upstream_makes_the_rest_stale(clone, remote, tmp_path):
    """Somebody else trains anew and saves that alone."""
    clone.artifacts("pull", R, "data")
    clone.mini(WEIGHTS, "--config", "setting=2")
    assert "stale, so Snakemake will make them again: 2" in clone.artifacts("save", R)
    clone.git("commit", "--quiet", "--message", "another training")
    clone.artifacts("push", R)
    for pulls in (True, False):  # with the new weights, and with their record alone
        other = clone.clone(tmp_path / f"other-{pulls}", remote)
        told = other.artifacts(*(("pull", R) if pulls else ("restore",)))
        assert f"{R}/metrics/joint/a/400k/plain.json (from another {WEIGHTS})" in told
        assert "stale: run Snakemake again, then save: 2" in other.artifacts("check", fails=True)
        jobs = planned(other.mini("table", "-n", "--config", "setting=2"))
        assert {"evaluate", "table"} <= jobs and ("train" in jobs) != pulls


@pytest.mark.slow
def test_what_was_made_anew_here_is_not_overwritten(clone):
    clone.artifacts("pull", R, "data")
    clone.mini("table", "--config", "setting=2")
    made = (clone.folder / WEIGHTS).read_bytes()
    assert "pull would overwrite it" in clone.refused("pull", R)
    assert "changed or made again here; they stay as they are: 5" in clone.artifacts("restore", R)
    assert (clone.folder / WEIGHTS).read_bytes() == made
    assert NOTHING in clone.mini("table", "-n", "--config", "setting=2")
    clone.artifacts("save", R)
    assert "checked 5 saved files" in clone.artifacts("check")


def test_a_file_changed_by_hand_is_named(clone):
    clone.artifacts("restore")
    table = clone.folder / R / "tables/main.csv"
    table.write_text("better numbers\n")
    assert f"{R}/tables/main.csv" in clone.artifacts("check", fails=True)
    assert "neither what was saved" in clone.refused("save", R)
    assert table.read_text() == "better numbers\n"


@pytest.mark.slow
def test_a_second_save_and_restore_change_nothing(built):
    built.artifacts("save", R)
    built.git("commit", "--quiet", "--message", "results")
    files = [path for path in (built.folder / R).rglob("*") if path.is_file()]
    before = [path.stat().st_mtime_ns for path in files if path.suffix != ".dvc"]
    assert "0 of them new or changed" in built.artifacts("save", R)
    assert built.git("status", "--porcelain") == ""
    assert NOTHING in built.mini("table", "-n")
    assert before == [path.stat().st_mtime_ns for path in files if path.suffix != ".dvc"]


@pytest.mark.slow
def test_a_restored_clone_can_save(mini_saved, tmp_path):
    """What is absent there stays as it was saved."""
    clone = mini_saved.clone(tmp_path / "clone")
    clone.artifacts("restore", R)
    assert "0 of them new or changed" in clone.artifacts("save", R)
    assert clone.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_data_are_compared_without_a_remote(mini_saved, tmp_path):
    fresh = mini_saved.clone(tmp_path / "clone")
    fresh.mini("data/mini/manifest.json")
    fresh.artifacts("check", "data")
    (fresh.folder / "data/mini/train/1.png").write_text("another image\n")
    assert "data/mini" in fresh.artifacts("check", "data", fails=True)


@pytest.mark.slow
def test_data_sets_are_saved_one_by_one(clone):
    """The absent set keeps its entry."""
    clone.artifacts("restore", R)
    clone.mini("data/own/manifest.json")
    clone.artifacts("save", "data/own")
    kept = yaml.safe_load((clone.folder / "data.dvc").read_text())["outs"]
    assert sorted(entry["path"] for entry in kept) == ["data/mini", "data/own"]
    assert all(entry["md5"].endswith(".dir") for entry in kept)


@pytest.mark.parametrize("length", (3, 185, 300, 900))
def test_records_lie_where_snakemake_looks(length, tmp_path, monkeypatch):
    from snakemake.persistence.file import FilePersistence

    monkeypatch.chdir(tmp_path)
    path = "r/" + "ä" * (length // 2) + "x" * (length % 2)
    limit = SimpleNamespace(_fetch_max_len=lambda folder: os.pathconf(folder, "PC_NAME_MAX"))
    expected = FilePersistence._record_path(limit, str(tmp_path), path)
    job = {"rule": "a", "code": "b", "params": [], "software": "c", "seconds": 1.0}
    records.write(path, job | {"inputs": {}}, "0" * 64)
    assert list(records.outputs()) == [path]
    written = tmp_path / ".snakemake/metadata" / os.path.relpath(expected, tmp_path)
    assert json.loads(written.read_text())["rule"] == "a"


@pytest.mark.slow
def test_two_commits_can_be_compared(mini_saved, tmp_path):
    clone = mini_saved.clone(tmp_path / "clone")
    scores = clone.folder / "results/demo/metrics/joint/a/400k/plain.json"
    for value in (1.5, 1.25):
        scores.parent.mkdir(parents=True, exist_ok=True)
        scores.write_text(json.dumps({"demo": {"gfid": value}}))
        clone.git("add", "results")
        clone.git("commit", "--quiet", "--message", f"{value}")
    status, text = clone.run("dvc", "metrics", "diff", "HEAD~1", "HEAD", "--json")
    assert status == 0, text
    found = json.loads(text)
    gained = {"demo.gfid": {"old": 1.5, "new": 1.25, "diff": -0.25}}
    assert found == {"results/demo/metrics/joint/a/400k/plain.json": gained}


def test_restore_leaves_the_times_of_another_clone(clone, mini_saved, tmp_path, remote):
    """Two clones that share DVC's cache share inodes, so a time belongs to both."""
    weights = f"{R}/joint/a/400k/weights.safetensors"
    clone.artifacts("pull", R)
    other = mini_saved.clone(tmp_path / "other", remote)
    (other.folder / weights).parent.mkdir(parents=True, exist_ok=True)
    os.link(clone.folder / weights, other.folder / weights)
    os.utime(clone.folder / weights, ns=(10**18, 10**18))
    other.artifacts("restore", R)
    assert (clone.folder / weights).stat().st_mtime_ns == 10**18
    assert (other.folder / weights).stat().st_mtime_ns != 10**18
    assert (other.folder / weights).read_bytes() == (clone.folder / weights).read_bytes()
