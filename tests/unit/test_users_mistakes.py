"""What is a user's mistake ends in one sentence, and what is a bug keeps its traceback.

A bug is made for real: torch refuses shapes that do not fit with a ValueError, in the middle of
each command or job that turns mistakes into sentences. Files that cannot be read are damaged in
the ways that json, yaml and the codecs refuse with a ValueError of theirs. What the source may
raise is read from the source.
"""

import ast
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gear.artifacts import store
from gear.artifacts.units import Saved, cleaned
from gear.cli import main as cli
from gear.config import did_you_mean
from gear.data import digits
from gear.files import aside as whole_files
from gear.files import mistakes, reading
from gear.files.mistakes import Mistake
from gear.launch import __main__ as launch
from gear.launch import slurm
from gear.launch import warm as start
from gear.report import compare
from gear.report import make as report
from gear.report.figures import codebook
from gear.report.files import Results
from gear.study import registry
from gear.study.configfiles import read_yaml
from gear.study.published import published_row

ROOT = registry.CONFIG.parent
LATIN = "größe: 1\n".encode("latin-1")


def buggy(*_, **__):
    F.cross_entropy(torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64))


def mistaken(*_, **__):
    raise Mistake("the sentence; the cure.")


REPORT = ["table", "--root", "r", "--spec", "{}", "--output", "o"]
PLACES = [  # where a mistake becomes a sentence: object and name of what is called, and the call
    (compare, "compare", lambda: cli.main(["compare", "a", "b"]), "gear: "),
    (report, "make", lambda: report.main(REPORT), "gear.report.make: "),
    (digits, "prepare", lambda: digits.main(["--output", "o"]), "gear.data.digits: "),
    (compare, "main", lambda: start.run(["gear.report.compare"]), "gear.report.compare: "),
    (launch, "command", launch.main, "gear.launch: "),
    (slurm, "ask", lambda: slurm.require(Workflow()), "gear: "),
]


class Workflow:
    """As much of Snakemake's as slurm.require asks."""

    class executor_settings:
        partition_config, init_seconds_before_status_checks, status_command = None, 40, "squeue"

    class dag:
        needrun_jobs = staticmethod(lambda: [])


@pytest.fixture(params=PLACES, ids=[name for _, name, _, _ in PLACES])
def place(request, monkeypatch):
    """place(what) -> calls the place whose inner function is `what`; and how its sentence begins"""
    module, name, call, begin = request.param
    monkeypatch.setattr("sys.argv", ["gear.launch", "--processes", "2", "--", "a_module"])
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)

    def run(what):
        monkeypatch.setattr(module, name, what, raising=name != "main")
        return call()

    return run, begin


def test_a_bug_keeps_its_traceback(place):
    run, _ = place
    with pytest.raises(ValueError, match="Expected input batch_size") as caught:
        run(buggy)
    assert not isinstance(caught.value, Mistake)
    assert caught.traceback[-1].path.name == "functional.py"


def test_a_mistake_is_one_sentence(place):
    run, begin = place
    with pytest.raises(SystemExit) as caught:
        run(mistaken)
    assert caught.value.code == f"{begin}the sentence; the cure."


def test_our_own_code_raises_mistakes_alone():
    """No ValueError of ours is left, and none is caught around more than a library's call."""
    raised, seen = [], 0
    for path in sorted((ROOT / "gear").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                seen += node.func.id == "Mistake"
                if node.func.id == "ValueError":
                    raised.append(f"{path}:{node.lineno}")
    assert not raised and seen > 250


def test_the_nearest_name_is_imported_from_where_it_was():
    assert did_you_mean is mistakes.did_you_mean
    assert did_you_mean("gear-m", ["gear-l", "vq"]) == "Did you mean 'gear-l'?"
    assert did_you_mean("zzz", ["b", "a"]) == "Known: a, b."


@pytest.mark.parametrize("content", [
    LATIN, b"a: 2026-13-01\n", b"a: !!int x\n", b"a: [\n", b"a: !!bool x\n", b"a: !!set [a]\n",
    b"a: !!timestamp x\n", b"a: &x {b: *x}\n", b"a: &x [*x]\n", b"a: *x\n", b"a: \x00\n",
    b"a: 1\n---\nb: 2\n", b"a: " + 3000 * b"[" + 3000 * b"]", b"<<: 5\n", b"a: !!python/none\n",
])  # fmt: skip
def test_yaml_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "runs.yaml"
    path.write_bytes(content)
    with pytest.raises(Mistake, match="runs.yaml is not .*[.]$") as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["5", "1.5", "yes", "null", "2026-01-01", "[a]", "{a: 1}", "="])
def test_a_key_that_is_no_text_is_named(tmp_path, key):
    path = tmp_path / "runs.yaml"
    path.write_text(f"a:\n  ? {key}\n  : 1\n")
    with pytest.raises(Mistake, match="line 2: the key.* is no text; put it in quotes.$"):
        read_yaml(path)


def test_a_key_that_is_there_twice_is_named_and_a_merged_one_is_not(tmp_path):
    path = tmp_path / "runs.yaml"
    path.write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(Mistake, match="line 3: 'a' is there twice; rename or remove one.$"):
        read_yaml(path)
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n")
    content = {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}}
    assert read_yaml(path) == content


def test_yaml_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Mistake, match="none.yaml is missing; put the file there.$"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(Mistake, match="is a folder and no file; put"):
        read_yaml(tmp_path)


@pytest.mark.parametrize("content, fault", [
    (LATIN, "is not UTF-8"), (b'{"a": ', "is no JSON"), (3000 * b"[", "nests too deep"),
    (b'{\n<<<<<<< HEAD\n"a": 1}', "holds two versions of a git merge, line 2"),
    (b"[]", "is a list and no mapping"),
])  # fmt: skip
def test_json_that_cannot_be_read_is_named(tmp_path, content, fault, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    for name in ("run.json", "results/unit.prov.json"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Mistake, match=f"run.json.* {fault}"):
        reading.read_record(tmp_path / "run.json")
    with pytest.raises(Mistake, match=f"run.json.* {fault}"):
        Results(tmp_path).json("run.json")
    with pytest.raises(Mistake, match=f"results/unit.prov.json.* {fault}"):
        Saved(["results"])


def test_other_files_that_cannot_be_read_are_named(tmp_path, smoke, edited_config):
    for name in ("curves.csv", "state.dvc"):
        (tmp_path / name).write_bytes(LATIN)
    with pytest.raises(Mistake, match="curves.csv is not UTF-8"):
        Results(tmp_path).csv("curves.csv")
    with pytest.raises(Mistake, match="state.dvc is not UTF-8"):
        store.outs(tmp_path / "state.dvc")
    folder = edited_config("paper.csv", "table", "table")
    (folder / "paper.csv").write_bytes(LATIN)
    with pytest.raises(Mistake, match="paper.csv is not UTF-8"):
        published_row(registry.Study("smoke", folder=folder), 1, "GEAR-L", "a table")


def test_a_number_that_cannot_be_read_is_named_with_its_file(tmp_path, edited_config):
    columns = ("step", *codebook.PANELS)
    lines = (",".join(columns), ",".join("1" for _ in columns), ",".join("1.x" for _ in columns))
    (tmp_path / "curves.csv").write_text("\n".join(lines))
    with pytest.raises(Mistake, match="curves.csv is damaged .*'1.x'"):
        codebook._read(Results(tmp_path), "curves.csv")
    folder = edited_config("paper.csv", ",adm,gfid,1.78,", ",adm,gfid,l.78,")
    with pytest.raises(Mistake, match="paper.csv, table 1, row .*: the value 'l.78' is no number"):
        published_row(registry.Study("smoke", folder=folder), 1, "ImageNet val (oracle)", "here")


def test_an_empty_path_names_no_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    with pytest.raises(Mistake, match="an empty path names no folder of results"):
        cleaned(["results/demo", ""])


def test_a_torn_array_is_named(tmp_path):
    path = tmp_path / "pictures.npz"
    np.savez(path, images=np.zeros(4096))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(Mistake, match="pictures.npz is no complete .npz"):
        Results(tmp_path).arrays("pictures.npz", "images")
    path.write_bytes(b"no archive")
    with pytest.raises(Mistake, match="pictures.npz is no complete .npz"):
        Results(tmp_path).arrays("pictures.npz", "images")


def test_groups_that_torch_refuses_name_their_setting(smoke_settings, tiny_networks):
    with pytest.raises(Mistake, match="groups is 3, which does not divide the 8 channels"):
        tiny_networks.tokenizer(smoke_settings(**{"tokenizer.groups": 3}))


def test_a_path_without_a_name_is_refused():
    with pytest.raises(Mistake, match="names no file"), whole_files.aside(""):
        pass


def test_a_reader_that_has_enough_is_no_mistake():
    """`gear plan ... | head`: no traceback and no sentence."""
    command = [sys.executable, "-m", "gear", "plan", "--study", "paper", "--details"]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "")
