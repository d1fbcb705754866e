"""Records and .dvc files that someone else wrote, with paths that are not theirs to name.

Nothing outside the unit is read, written or touched: the refusal comes before git, dvc and
times."""

import json
import os

import pytest
import yaml

from gear.artifacts import store
from gear.artifacts.units import Contents, Saved
from gear.cli.main import main
from gear.files.hashes import sha256
from gear.files.mistakes import Mistake

RUN = "results/x/joint/gear-l"
NONE, MD5 = "0" * 64, "0" * 32  # of files that are not there
MINE = (f"{RUN}/400k/run.json", "results/x/samples/joint/gear-l/400k/plain.npz")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository beside a victim; write(outputs) makes the record of a run."""
    (tmp_path / "repository/.dvc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "repository")
    (tmp_path / "victim").write_text("theirs")
    os.utime(tmp_path / "victim", (5, 5))

    def write(*outputs, name=RUN, inputs=()):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        job = {"rule": "r", "code": "", "params": [], "software": "", "seconds": 1.0}
        job |= {"inputs": dict.fromkeys(inputs, NONE)}
        job |= {"outputs": {p: sha256(p) if os.path.isfile(p) else NONE for p in outputs}}
        with open(f"{name}.prov.json", "w", encoding="utf-8") as file:
            json.dump({"jobs": [job]}, file)

    return write


BAD = (
    "../victim",
    "results/../../victim",
    "/etc/passwd",
    "gear/cli/main.py",
    "results/x/joint/other/400k/run.json",
    f"{RUN}/400k/../../other/400k/run.json",
    "",
    ".",
)


@pytest.mark.parametrize("path", BAD)
def test_a_record_names_only_its_own_outputs(repository, path):
    repository(*MINE, path)
    for action in ("restore", "check", "status", "pull", "push"):
        with pytest.raises(SystemExit) as error:
            main(["artifacts", action, "results/x"])
        assert str(error.value) == (
            f"gear: {RUN}.prov.json lists '{path}', which is no output of {RUN}; take the file "
            "from a source that you trust, or delete that entry."
        )
    assert os.stat("../victim").st_mtime == 5 and not os.path.exists(".snakemake")


def test_records_of_runs_folders_data_and_the_index_are_read(repository):
    repository(*MINE)
    repository(f"{RUN}/100k/run.json", name=f"{RUN}/100k")  # the older form
    repository("results/x/tables/control.csv", name="results/x/tables")
    repository("results/x/README.md", name="results/x/index")
    repository("data/digits/manifest.json", name="data")
    assert len(Saved(["results/x"]).job_of) == 6


@pytest.mark.parametrize(
    "path", ["../../../gear/planted.py", "/tmp/planted", "../other/400k/x.npz", "../../victim", ""]
)
def test_a_dvc_file_names_only_its_own_outputs(repository, path):
    repository(*MINE)
    outs = [{"path": p, "md5": MD5, "size": 1} for p in ("gear-l/400k/weights.safetensors", path)]
    with open(f"{RUN}.dvc", "w", encoding="utf-8") as file:
        yaml.safe_dump({"outs": outs}, file)
    with pytest.raises(ValueError, match="which is no output of results/x/joint/gear-l; take"):
        store.outs(f"{RUN}.dvc")


def test_a_dvc_file_neither_moves_its_paths_nor_downloads(repository):
    repository(*MINE)
    out = {"path": "../samples/joint/gear-l/400k/plain.npz", "md5": MD5, "size": 1}
    own = {"outs": [out]}
    for more in ({}, {"wdir": "../../.."}, {"deps": [{"path": "https://example.org/x"}]}):
        with open(f"{RUN}.dvc", "w", encoding="utf-8") as file:
            yaml.safe_dump(own | more, file)
        if more:
            with pytest.raises(ValueError, match=f"has '{next(iter(more))}', which no file"):
                store.outs(f"{RUN}.dvc")
        else:
            assert list(store.outs(f"{RUN}.dvc")) == [MINE[1]]


def test_an_input_that_is_a_pipe_is_not_waited_for(repository):
    os.mkfifo("pipe")
    repository(*MINE, inputs=["pipe", "/dev/zero"])
    contents = Contents(Saved(["results/x"]), thorough=True)
    assert contents.here("pipe") is None and contents.here("/dev/zero") is None


def test_a_remote_that_dvc_cannot_keep_is_refused_before_its_folder_is_made(tmp_path):
    with pytest.raises(Mistake, match="holds 'ü', and DVC keeps remotes in ASCII"):
        store.set_remote(str(tmp_path / "sp ace/ü"))
    assert not list(tmp_path.iterdir())
