"""The smoke study from end to end, and what Snakemake plans after a change.

The rules of a dry run are compared with the runs, tables and figures that the edit concerns.
"""

import re
import shutil

from gear.study.configfiles import read_entries, read_yaml


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def runs_of(jobs, *rules):
    """The run names among the outputs of some rules."""
    found = {output.split("/")[3] for rule in rules for output in jobs.get(rule, ())}
    return {name for name in found if name}


def test_every_table_and_figure_is_there_in_all_its_forms(checkout):
    root = checkout.folder / "results" / "smoke"
    study = read_yaml(checkout.folder / "config/studies/smoke.yaml")
    for table in study["tables"]:
        for form in ("csv", "md", "tex", "html"):
            assert (root / "tables" / f"{table}.{form}").stat().st_size > 0
    for form in ("csv", "md", "tex", "html"):
        assert (root / "tables" / f"claims.{form}").stat().st_size > 0
    for figure in study["figures"]:
        for form in ("svg", "pdf", "png", "csv"):
            assert (root / "figures" / f"{figure}.{form}").stat().st_size > 0


WITHOUT_TORCH = """
import json, sys, time
start = time.perf_counter()
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("the report imported torch")
sys.meta_path.insert(0, Refused())
from gear.study import jobs
from gear.study.registry import Study
from gear.report.make import make
from gear.study.specs.claims import claims_spec, pages
from gear.study.specs.tables import figure_spec, table_spec
study, root, new = Study("smoke"), "results/smoke", "rebuilt"
as_jobs_get_it = lambda spec: json.loads(jobs.line(spec))
for name in study.tables:
    make("table", root, as_jobs_get_it(table_spec(study, name)), f"{new}/tables/{name}")
for name in study.figures:
    make("figure", root, as_jobs_get_it(figure_spec(study, name)), f"{new}/figures/{name}")
for page in pages(study):
    make("claims", root, as_jobs_get_it(claims_spec(study, page)), f"{new}/tables/{page}")
assert "torch" not in sys.modules
print(time.perf_counter() - start)
"""


def test_all_tables_and_figures_are_rebuilt_without_torch_in_a_minute(checkout):
    status, text = checkout.run("python", "-c", WITHOUT_TORCH)
    assert status == 0 and float(text.split()[-1]) < 60, text[-3000:]
    root = checkout.folder / "results/smoke"
    made = [p for noun in ("tables", "figures") for p in (root / noun).iterdir() if p.is_file()]
    study = read_yaml(checkout.folder / "config/studies/smoke.yaml")
    assert {path.stem for path in made} == {
        *study["tables"],
        *study["figures"],
        "claims",
        "claims_t2i",
    }
    for path in made:
        again = checkout.folder / "rebuilt" / path.relative_to(root)
        assert again.read_bytes() == path.read_bytes(), path.name


def test_a_second_call_has_nothing_to_do(checkout):
    status, text = checkout.snakemake("all")
    assert status == 0 and "Nothing to be done" in text


def test_a_changed_setting_plans_only_its_own_chain(edited_checkout):
    replace(edited_checkout.folder / "config/runs.yaml", "loss.gan: 0.0}", "loss.gan: 0.01}")
    jobs = edited_checkout.planned("all")
    assert jobs["train_joint"] == ["results/smoke/joint/gear-l-no-gan/400k/weights.safetensors"]
    assert jobs["make_table"] == ["results/smoke/tables/components.csv"]
    scored = {o for rule in jobs if rule.startswith("evaluate") for o in jobs[rule]}
    assert scored == {"results/smoke/metrics/joint/gear-l-no-gan/400k/validation.json"}
    assert "train_tokenizer" not in jobs and "train_ar" not in jobs


def test_a_setting_that_changes_no_result_plans_nothing(edited_checkout):
    replace(
        edited_checkout.folder / "config/studies/smoke.yaml",
        "runtime: {threads: 1, precision: fp32, log_every: 1}",
        "runtime: {threads: 2, precision: fp32, log_every: 2, checkpoint_minutes: 5.0}",
    )
    status, text = edited_checkout.snakemake("-n", "all")
    assert status == 0 and "Nothing to be done" in text


def test_a_changed_parent_plans_all_that_comes_from_it(edited_checkout):
    replace(
        edited_checkout.folder / "config/runs.yaml",
        "lfq: {until: 400k, tokenizer.quantizer: lfq}",
        "lfq: {until: 400k, tokenizer.quantizer: lfq, loss.entropy: 0.1}",
    )
    jobs = edited_checkout.planned("all")
    assert runs_of(jobs, "train_tokenizer", "train_joint", "train_ar") == {
        "lfq",
        "gear-l-lfq",
        "llamagen-repa-l-lfq",
    }


def test_an_ablation_is_one_line_and_one_name(edited_checkout):
    replace(
        edited_checkout.folder / "config/runs.yaml",
        "  gear-l-lfq:  ",
        "  gear-l-l1:   {from: gear-l, loss.l1: 2.0}\n  gear-l-lfq:  ",
    )
    replace(
        edited_checkout.folder / "config/tables.yaml",
        '    - {row: "GEAR", run: gear-l@400k, paper: "GEAR"}',
        '    - {row: "GEAR", run: gear-l@400k, paper: "GEAR"}\n'
        '    - {row: "L1 = 2", run: gear-l-l1@400k}',
    )
    jobs = edited_checkout.planned("components")
    assert runs_of(jobs, "train_joint") == {"gear-l-l1"}
    status, text = edited_checkout.snakemake("components")
    assert status == 0, text[-3000:]
    assert (
        "| L1 = 2 |" in (edited_checkout.folder / "results/smoke/tables/components.md").read_text()
    )
    for name in ("runs.yaml", "tables.yaml"):  # the other tests find the study as it was
        folder = edited_checkout.folder
        shutil.copy2(folder / "config.kept" / name, folder / "config" / name)
    assert edited_checkout.snakemake("all")[0] == 0


def test_one_table_alone_plans_only_what_it_needs(checkout):
    jobs = checkout.planned("quantizer", results="elsewhere")
    assert jobs["make_table"] == ["elsewhere/smoke/tables/quantizer.csv"]
    assert runs_of(jobs, "train_joint") == {"gear-l", "gear-l-lfq", "gear-l-ibq"}
    assert not any("1500k" in output for output in jobs["train_ar"])


def test_the_paper_study_resolves_without_its_data(checkout):
    jobs = checkout.planned("all_tables", study="paper")
    published = runs_of(jobs, "train_tokenizer", "train_joint", "train_ar")
    assert {"vq", "gear-xl", "gear-l-res512", "llamagen-repa-l-vjepa2"} <= published
    config = checkout.folder / "config"
    tables = {f"results/paper/tables/{name}.csv" for name in read_entries("tables", config)}
    assert set(jobs["make_table"]) == tables
    teachers = read_yaml(config / "studies/paper.yaml")["teachers"]
    assert {path.split("/")[3] for path in jobs["import_teacher"]} == teachers.keys()
    assert "train_teacher" not in jobs


def test_other_resolutions_bring_their_own_images_and_teachers_theirs(checkout):
    jobs = checkout.planned("resolution", "teacher", study="demo")
    folders = {output.removesuffix("/manifest.json") for output in jobs["prepare_data"]}
    assert folders == {"data/digits", "data/digits-24", "data/digits-32"}
    teachers = {output.split("/")[3] for output in jobs["train_teacher"]}
    assert teachers == {"dinov2", "dinov3", "siglip2", "vjepa2"}
    jobs = checkout.planned("depth", study="demo")
    assert jobs["prepare_data"] == ["data/digits/manifest.json"]
    assert len(jobs["train_teacher"]) == 1


def test_every_new_target_of_the_paper_study_resolves(checkout):
    targets = ("teacher", "resolution", "system_bars", "class_grids", "claims", "all_figures")
    jobs = checkout.planned(*targets, study="paper")
    assert "results/paper/tables/claims.csv" in jobs["make_claims"]
    grids = "results/paper/samples/ar/gear-l-frozen/1500k/cfg.pictures.npz"
    assert jobs["decode_samples"] == [grids]
    assert jobs["prepare_data"] == ["results/paper/data/manifest.json"]


def test_the_report_is_one_file(checkout):
    status, text = checkout.snakemake("all", "--report", "report.html")
    assert status == 0, text[-3000:]
    report = (checkout.folder / "report.html").read_text()
    assert "components" in report and "What reproduces and what does not" in report


def test_rules_are_verbs_and_targets_are_nouns(checkout):
    status, text = checkout.snakemake("--list-rules")
    assert status == 0
    listed = re.findall(r"^([a-z_0-9]+)$", text, re.MULTILINE)
    tables, figures = (read_entries(k, checkout.folder / "config") for k in ("tables", "figures"))
    nouns = [*tables, *figures, "claims", "tokenizer", "joint", "ar", "t2i"]
    stems = ("prepare", "train", "evaluate", "analyse", "make")
    verbs = [r for r in listed if r.split("_")[0] in stems]
    assert len(verbs) > 8 and not set(verbs) & set(nouns)
    assert len(nouns) == len(set(nouns))


def test_a_settings_class_may_grow_without_a_new_training(checkout):
    config = checkout.folder / "gear/config.py"
    kept = config.read_text()
    try:
        replace(config, "    l2: float = 0.0\n", "    l2: float = 0.0\n    new: float = 0.0\n")
        assert not [rule for rule in checkout.planned("all") if rule.startswith("train")]
    finally:
        config.write_text(kept)
