"""The smoke study, saved once and taken up in fresh clones.

What Snakemake plans in a clone is compared with what it plans beside the original.
"""

import pytest
from repositories import Repository, repository
from shared import built_once

pytestmark = pytest.mark.slow
R = "results/smoke"
MANIFEST = "data/digits-smoke/manifest.json"


def publish(folder):
    made = repository(folder / "gear")
    status, text = made.snakemake("all")
    assert status == 0, text[-3000:]
    made.artifacts("save", R)
    made.artifacts("save", "data")  # shards are made of images, and are in no results
    made.git("commit", "--quiet", "--message", "results")
    made.artifacts("remote", str(folder / "remote"))
    made.artifacts("push", R, "data")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The repository with the smoke study in it; its remote lies beside it. It is only read."""
    return Repository(built_once(tmp_path_factory, "published", publish) / "gear")


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


def test_prose_is_free_and_changed_code_plans_what_it_touches(published, tmp_path):
    """A comment, a docstring and a layout plan nothing; a constant plans scores, analyses or tables
    and no training. What was accepted plans nothing either."""
    clone = published.clone(tmp_path / "clone", published.folder.parent / "remote")
    clone.artifacts("pull", R)
    assert clone.snakemake(MANIFEST)[0] == 0

    def edit(file, old, new):
        replace_in(clone.folder / "gear" / file, old, new)

    for path in (clone.folder / "gear").rglob("*.py"):
        path.write_text(path.read_text() + "\n\n\n\n# a comment\n")
    edit("metrics/frechet.py", '"""Fréchet distance', '"""The Fréchet distance')
    assert nothing_to_do(clone, "all")

    edit("report/figures/style.py", 'MARKERS = ("o", "s"', 'MARKERS = ("s", "o"')
    assert set(clone.planned("all")) >= {"make_table", "make_figure", "make_claims"}
    assert not [rule for rule in clone.planned("all") if "train" in rule or "evaluate" in rule]
    edit("report/figures/style.py", 'MARKERS = ("s", "o"', 'MARKERS = ("o", "s"')
    for file, old, new in (
        ("metrics/frechet.py", "ROWS = 8192", "ROWS = 4096"),
        ("tokenizer/vqgan.py", "eps=1e-6", "eps=1e-5"),
    ):
        edit(file, old, new)
        rules = set(clone.planned("all"))
        assert {"evaluate_plain", "make_table"} <= rules
        assert ("analyse" in rules) == ("tokenizer" in file)
        assert not [rule for rule in rules if "train" in rule], rules
        edit(file, new, old)
    assert nothing_to_do(clone, "all")

    edit("metrics/frechet.py", "ROWS = 8192", "ROWS = 4096")
    assert "evaluate_plain: " in clone.artifacts("restore", R, "--accept-code")
    assert nothing_to_do(clone, "all")
    assert "code of scores: made with" in clone.artifacts("check", R)


def test_restored_the_small_files_count_as_made(published, tmp_path):
    clone = published.clone(tmp_path / "clone")
    assert not nothing_to_do(clone, "all")
    clone.artifacts("restore", R)
    for target in ("all", "all_tables", "control", "claims"):
        assert nothing_to_do(clone, target)
    replace_in(clone.folder / "config/runs.yaml", "loss.gan: 0.0}", "loss.gan: 0.01}")
    assert "train_joint" in clone.planned("components")
    assert nothing_to_do(clone, "quantizer")


def test_a_restored_clone_makes_the_pages_of_its_report(published, tmp_path):
    clone = published.clone(tmp_path / "clone")
    told = clone.artifacts("restore", R)
    assert not list((clone.folder / R).rglob("*.html"))
    assert "all_tables --forcerun make_table make_claims" in told
    assert clone.snakemake("all_tables", "--forcerun", "make_table", "make_claims")[0] == 0
    assert nothing_to_do(clone, "all") and clone.git("status", "--porcelain") == ""
    status, text = clone.snakemake("all", "--report", "report.html")
    assert status == 0, text[-3000:]


def test_a_run_has_one_record_and_is_pulled_alone(published, tmp_path):
    clone = published.clone(tmp_path / "clone", published.folder.parent / "remote")
    tracked = clone.git("ls-files", R).split()
    assert [path for path in tracked if "gear-l-no-gan." in path] == [
        f"{R}/joint/gear-l-no-gan.dvc",
        f"{R}/joint/gear-l-no-gan.prov.json",
    ]
    assert not [path for path in tracked if path.endswith((".tsv", ".html"))]
    clone.artifacts("pull", f"{R}/joint/gear-l-no-gan")
    pulled = [p for p in (clone.folder / R).rglob("*") if p.suffix in (".npz", ".safetensors")]
    assert pulled == [clone.folder / R / "joint/gear-l-no-gan/400k/weights.safetensors"]


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
    assert "2 of them new or changed" in told
    clone.artifacts("push", f"{R}/joint/gear-l-no-gan", f"{R}/samples/joint/gear-l-no-gan")
