"""The smoke study, saved once and taken up in fresh clones."""

import pytest
from repositories import repository

pytestmark = pytest.mark.slow
R = "results/smoke"
MANIFEST = "data/digits-smoke/manifest.json"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The repository with the smoke study in it; its remote lies beside it."""
    top = tmp_path_factory.mktemp("published")
    made = repository(top / "gear")
    status, text = made.snakemake("all")
    assert status == 0, text[-3000:]
    made.artifacts("save", R)
    made.git("commit", "--quiet", "--message", "results")
    made.artifacts("remote", str(top / "remote"))
    made.artifacts("push", R)
    return made


def replace_in(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def nothing_to_do(clone, *targets):
    status, text = clone.snakemake("-n", *targets)
    return status == 0 and "Nothing to be done" in text


def test_pulled_all_is_there_and_a_changed_setting_concerns_its_chain(published, tmp_path):
    clone = published.clone(tmp_path / "clone", published.folder.parent / "remote")
    clone.artifacts("pull", R)
    for target in ("all", "all_tables", "control"):
        assert nothing_to_do(clone, target)
    clone.artifacts("check")
    assert clone.snakemake(MANIFEST)[0] == 0
    assert nothing_to_do(clone, "all")
    replace_in(clone.folder / "config/runs.yaml", "loss.gan: 0.0}", "loss.gan: 0.01}")
    jobs = clone.planned("all")
    assert jobs["train_joint"] == [f"{R}/joint/gear-l-no-gan/400k/weights.safetensors"]
    assert jobs["make_table"] == [f"{R}/tables/components.csv"]
    assert "train_tokenizer" not in jobs and "train_ar" not in jobs and "train_teacher" not in jobs


def test_restored_the_small_files_count_as_made(published, tmp_path):
    clone = published.clone(tmp_path / "clone")
    assert not nothing_to_do(clone, "all")
    clone.artifacts("restore", R)
    for target in ("all", "all_tables", "control"):
        assert nothing_to_do(clone, target)
    replace_in(clone.folder / "config/runs.yaml", "loss.gan: 0.0}", "loss.gan: 0.01}")
    assert "train_joint" in clone.planned("components")
    assert nothing_to_do(clone, "quantizer")


def test_one_table_alone_needs_only_its_own(published, tmp_path):
    clone = published.clone(tmp_path / "clone", published.folder.parent / "remote")
    clone.artifacts("pull", f"{R}/tables/components.csv", "--inputs")
    root = clone.folder / R
    runs = {path.parent.parent.relative_to(root) for path in root.rglob("*/*/*k/*.safetensors")}
    assert {run.name for run in runs} == {"vq", "gear-l", "gear-l-no-gan", "gear-l-ste"}
    assert clone.snakemake(MANIFEST)[0] == 0
    replace_in(clone.folder / "config/runs.yaml", "loss.gan: 0.0}", "loss.gan: 0.01}")
    jobs = clone.planned("components")
    assert [rule for rule in jobs if rule.startswith("train")] == ["train_joint"]
    assert jobs["train_joint"] == [f"{R}/joint/gear-l-no-gan/400k/weights.safetensors"]
    status, text = clone.snakemake("components")
    assert status == 0, text[-3000:]
    clone.git("commit", "--quiet", "--all", "--message", "another weight of the GAN loss")
    told = clone.artifacts("save", f"{R}/joint", f"{R}/metrics", f"{R}/samples", f"{R}/tables")
    assert "4 of them new or changed" in told
    clone.artifacts("push", f"{R}/joint/gear-l-no-gan", f"{R}/samples/joint/gear-l-no-gan")
