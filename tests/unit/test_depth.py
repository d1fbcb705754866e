"""Tables and figures of similarities, from small fakes of analysis/*.json.

The numbers of the fakes are known; each cell and each drawn value is compared with them.
"""

import json
import shutil
from types import SimpleNamespace

import pytest
from fakes import cell, fake, lines, make_figure, make_table

from gear.report.figures import depth_similarity
from gear.study import jobs
from gear.study.registry import CONFIG, Study
from gear.study.specs.tables import figure_spec, inputs, table_spec

PATH = "analysis/joint/gear-l/400k.json"


@pytest.fixture(scope="module")
def demo():
    return Study("demo")


def edit(root, path, **values):
    found = json.loads((root / path).read_text())
    (root / path).write_text(json.dumps(found | values))


def test_the_paper_stands_beside_each_measure(tmp_path, demo):
    spec = table_spec(demo, "similarity")
    fake(tmp_path, spec)
    text, _ = make_table(tmp_path, spec)
    row = cell(tmp_path, "similarity", "GEAR", "cknna_patch_pre")
    assert (row["paper"], row["protocol"], row["seed_n"]) == ("0.0831", "similarity", "3")
    assert row["gain"] and row["delta_paper"] == ""
    values = [
        json.loads((tmp_path / f"analysis/joint/gear-l{s}/400k.json").read_text())["similarity"]
        for s in ("", "-s22", "-s23")
    ]
    mean = sum(v["cknna_patch_pre"] for v in values) / 3
    assert float(row["ours"]) == pytest.approx(mean, abs=1e-5)
    for said in ("on 1024 validation images", "batches of 256", "k = 10 (image) and 3 (patch)",
                 "CKA with biased HSIC", "stand-in teacher", "another world"):  # fmt: skip
        assert said in text
    assert "Params" not in text


def test_similarities_need_an_analysis_and_no_scores(demo):
    for name in ("similarity", "ar_similarity"):
        read = inputs(table_spec(demo, name))
        made = {f"analysis/{checkpoint.path}.json" for checkpoint in jobs.analyses(demo)}
        assert len(read) == 12 and set(read) <= made
    assert set(inputs(figure_spec(demo, "depth_similarity"))) <= made
    targets = ("similarity", "ar_similarity", "depth_similarity")
    needs = {need for name in targets for spec in demo.specs(name) for need in inputs(spec)}
    only = SimpleNamespace(needs=needs, spec=demo.spec)
    assert jobs.evaluations(only) == {} and len(jobs.analyses(only)) == 15


def test_a_row_of_an_ar_shows_its_tokenizers_similarity(tmp_path):
    folder = shutil.copytree(CONFIG, tmp_path / "config")
    text, old = (folder / "tables.yaml").read_text(), "metrics: [gfid, is, rfid, psnr, usage, ntp]"
    assert old in text
    new = "metrics: [gfid, cka_patch_pre, cka_patch_last]"
    (folder / "tables.yaml").write_text(text.replace(old, new))
    study = Study("demo", folder=folder)
    replica = table_spec(study, "overview")["rows"][2]["replicas"][0]["files"]
    assert replica["similarity"] == PATH
    assert replica["states"] == "analysis/ar/gear-l-frozen/1500k.json"
    wanted = {checkpoint.run for checkpoint in jobs.analyses(study)}
    assert {"gear-l", "gear-l-frozen", "gear-l-ste", "gear-l-ste-frozen"} <= wanted


def test_a_study_without_choices_is_told_where_they_are(tmp_path):
    folder = shutil.copytree(CONFIG, tmp_path / "config")
    text = (folder / "studies/demo.yaml").read_text()
    kept = [line for line in text.splitlines() if not line.startswith("analysis:")]
    (folder / "studies/demo.yaml").write_text("\n".join(kept))
    with pytest.raises(ValueError, match="demo.yaml has no `analysis`, which CKA and CKNNA need"):
        table_spec(Study("demo", folder=folder), "similarity")


def test_depth_draws_what_the_analyses_hold(tmp_path, demo):
    spec = figure_spec(demo, "depth_similarity")
    fake(tmp_path, spec)
    made = make_figure(tmp_path, spec)
    found = lines(made["csv"])
    assert {x["measure"] for x in found} == set(depth_similarity.PANELS)
    layers = json.loads((tmp_path / PATH).read_text())["layers"]
    for measure, values in layers.items():
        drawn = [x for x in found if (x["measure"], x["run"]) == (measure, "gear-l")]
        assert [x["layer"] for x in drawn] == ["0", "1", "2"]
        assert [float(x["value"]) for x in drawn] == pytest.approx(values["mean"], abs=1e-5)
        assert [float(x["sd"]) for x in drawn] == values["sd"]
    teacher = {x["measure"]: x["value"] for x in found if x["kind"] == "teacher"}
    assert teacher == {"moran": "0.4", "fft_high": "0.3"}
    text = made["md"].read_text()
    assert "Aligned layer: 2." in text and "above 0.25 cycles per token" in text
    again = make_figure(tmp_path, spec, "again")
    assert all(made[kind].read_bytes() == again[kind].read_bytes() for kind in made)


def test_a_diverged_run_is_not_drawn_and_said(tmp_path, demo):
    spec = figure_spec(demo, "depth_similarity")
    fake(tmp_path, spec)
    edit(tmp_path, PATH, layers=None, teacher=None)
    made = make_figure(tmp_path, spec)
    assert "gear-l" not in {x["run"] for x in lines(made["csv"])}
    assert "Diverged, not drawn: GEAR-L." in made["md"].read_text()


def test_undefined_values_are_counted_in_the_caption(tmp_path, demo):
    spec = figure_spec(demo, "depth_similarity")
    fake(tmp_path, spec)
    edit(tmp_path, PATH, undefined={"cka_patch of layer 0": 2, "moran of layer 0": 1})
    assert "left out (GEAR-L: 3 values)" in make_figure(tmp_path, spec)["md"].read_text()


def test_a_tokenizer_has_no_depth(tmp_path):
    folder = shutil.copytree(CONFIG, tmp_path / "config")
    text = (folder / "figures.yaml").read_text()
    text = text.replace('rows: {GEAR-L: gear-l@400k, "λ', 'rows: {GEAR-L: vq@400k, "λ')
    (folder / "figures.yaml").write_text(text)
    with pytest.raises(ValueError, match="'vq' has no AR layers; name a joint or ar run"):
        figure_spec(Study("demo", folder=folder), "depth_similarity")
