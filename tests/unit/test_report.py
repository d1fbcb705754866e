"""Tables and figures from small fakes of the files that the other jobs make.

The numbers of the fakes are known, so each cell is compared with the one that follows from them;
paper.csv is compared with the tables that name it.
"""

import json
import shutil

import pytest
from fakes import HEAD, cell, demo_study, edit, fake, lines, make_table

from gear.report import caption
from gear.report.seeds import sign_test
from gear.report.tables import table
from gear.study import jobs
from gear.study.configfiles import read_entries
from gear.study.registry import CONFIG, Study
from gear.study.specs import world
from gear.study.specs.tables import inputs, table_spec
from gear.study.vocabulary import digits, number


@pytest.fixture(scope="module")
def demo():
    return demo_study()


@pytest.fixture(scope="module")
def paper():
    return Study("paper")


# ---- specs -------------------------------------------------------------------------------------


def test_every_value_of_the_papers_tables_is_shown_once(paper):
    """paper.csv against the tables that name it: their rows are its rows, and a row shows all its
    values that have a protocol (the others are facts, as epochs)."""
    cells, places = {}, set()
    for line in lines(CONFIG / "paper.csv"):
        assert line["protocol"] == "setting" or float(line["value"])  # a setting may be a word
        place = tuple(line[k] for k in ("table", "row", "sampler", "protocol", "metric"))
        assert place not in places, place
        places.add(place)
        values = cells.setdefault(line["table"], {}).setdefault(line["row"], [])
        values += [(line["value"], line["protocol"])] if line["protocol"] else []
    for name, entry in paper.tables.items():
        shown = {}
        for line, row in zip(entry["rows"], table_spec(paper, name)["rows"], strict=True):
            if "paper" in line:
                values = [(c["value"], c["protocol"]) for c in row["paper"].values()]
                shown[line["paper"]] = sorted(value for value in values if value[1])
        rows = cells[str(entry["paper"])] if "paper" in entry else {}
        assert shown == {row: sorted(values) for row, values in rows.items()}, name


def test_every_table_of_the_paper_study_has_a_spec_and_its_paper_values(paper):
    assert paper.tables.keys() == read_entries("tables").keys()
    for name, entry in paper.tables.items():
        spec = json.loads(json.dumps(table_spec(paper, name)))
        assert inputs(spec) or spec["kind"] == "configuration"
        for row, line in zip(spec["rows"], entry["rows"], strict=True):
            assert bool(row["paper"]) == ("paper" in line), (name, row["row"])
    guidance = table_spec(paper, "guidance")["rows"][1]
    assert guidance["paper"]["0"] == {"value": "4.811", "protocol": "adm"}


def test_what_is_read_is_made(demo):
    """No table, figure or claim reads a file of metrics or an analysis that no job makes."""
    made = {f"analysis/{checkpoint.path}.json" for checkpoint in jobs.analyses(demo)}
    for checkpoint, samplers in jobs.evaluations(demo).items():
        folder = f"metrics/{checkpoint.path}"
        made |= {f"{folder}/{name}.json" for name in (*samplers, "validation")}
    specs = [*demo.table_specs.values(), *demo.figure_specs.values(), demo.claims_spec]
    read = [inputs(json.loads(jobs.line(spec))) for spec in specs]
    read = {p for paths in read for p in paths if p.startswith(("metrics/", "analysis/"))}
    assert read and read <= made


def test_a_misspelt_paper_row_names_the_nearest(tmp_path):
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    text = (folder / "tables.yaml").read_text()
    (folder / "tables.yaml").write_text(text.replace('"tau 0.050"', '"tau 0.05O"'))
    with pytest.raises(ValueError, match="no row 'tau 0.05O'. Did you mean 'tau 0.050'?"):
        Study("demo", folder=folder)
    with pytest.raises(ValueError, match="Did you mean 'components'?"):
        table_spec(Study("demo"), "component")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("baseline: VQVAE,", "baseline: VQVEA,", "Did you mean 'VQVAE'"),
        ("metrics: [rfid, psnr, ssim, l1, usage]", "metrics: [rfod]", "Did you mean 'rfid'"),
    ],
)
def test_names_that_lead_nowhere_stop_the_spec(tmp_path, old, new, message):
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    text = (folder / "tables.yaml").read_text().replace('baseline: "VQVAE"', "baseline: VQVAE")
    assert old in text
    (folder / "tables.yaml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        Study("demo", folder=folder)


# ---- tables ------------------------------------------------------------------------------------


def test_seeds_gains_and_the_sign_test(tmp_path, demo):
    spec = table_spec(demo, "control")
    fake(tmp_path, spec)
    values = {"llamagen-repa-l": (14, 13, 15), "gear-l-control-frozen": (13, 13, 13),
              "gear-l-frozen": (11, 9, 10), "gear-l-strong-frozen": (9, 8, 14)}  # fmt: skip
    for run, found in values.items():
        for suffix, value in zip(("", "-s22", "-s23"), found, strict=True):
            edit(tmp_path, f"metrics/ar/{run}{suffix}/1500k/plain.json", "demo", gfid=value)
    text, tex = make_table(tmp_path, spec)
    assert (tmp_path / "tables/control.csv").read_text().splitlines()[0] == HEAD
    gear = cell(tmp_path, "control", "GEAR-L", "gfid")
    assert (gear["ours"], gear["ours_sd"], gear["seed_n"], gear["gain"]) == ("10", "1", "3", "-3")
    assert (gear["run"], gear["step"], gear["steps"]) == ("gear-l-frozen", "1500k", "600")
    name = "GEAR-L − λ = 0 control"
    mean = cell(tmp_path, "control", name, "gfid")
    assert (mean["ours"], mean["ours_sd"], mean["seed_n"]) == ("-3", "1", "3")
    assert cell(tmp_path, "control", name, "gfid_sign_p")["ours"] == "0.25"
    tied = "λ = 0 control − LlamaGen-REPA-L"  # -1, 0, -2: the zero does not count
    assert cell(tmp_path, "control", tied, "gfid_sign_p")["ours"] == "0.5"
    assert "| GEAR-L | **10.00 ± 1.00** |" in text and "| λ = 0 control | 13.00 ± 0.00 |" in text
    assert f"| {name} | −3.00 ± 1.00<br>better on 3 of 3 |" in text
    assert f"| {tied} | −1.00 ± 1.00<br>better on 2 of 3 |" in text
    assert r"$-$3.00 $\pm$ 1.00 {\scriptsize better on 3 of 3}" in tex
    assert "Usage ↑: 0.900 ± 0.000 in all rows" in text and "p 0." not in text
    assert "no quality measure" in text and "(seeds 21, 22 and 23)" in text


def test_a_difference_keeps_a_digit_unless_it_is_none():
    for value, text in ((0.0042, "+0.004"), (-0.0042, "−0.004"), (0.00042, "+0.0004"),
                        (1e-6, "+0.0000"), (0.0, "+0.00"), (0.12, "+0.12")):  # fmt: skip
        assert number(value, digits(value, 2), signed=True) == text
    assert digits(float("nan"), 2) == digits(float("inf"), 2) == 2


def test_a_small_difference_is_shown_in_tables_and_claims(tmp_path, demo):
    spec = table_spec(demo, "quantizer")
    fake(tmp_path, spec)
    for run, value in (("ar/llamagen-repa-l", 1.476), ("joint/gear-l", 1.472)):
        edit(tmp_path, f"metrics/{run}/400k/plain.json", "demo", gfid=value)
    text, _ = make_table(tmp_path, spec)
    assert "| VQVAE + GEAR | **1.47** (−0.004)<br>" in text
    assert "PSNR ↑ |" in text and "<br>*PSNR*" not in text and "gFD ↓<br>*gFID*" in text


def test_a_table_of_single_trainings_says_what_they_do_not_decide(tmp_path, demo):
    said = {}
    for name in ("components", "quantizer", "guidance", "assignment", "overview"):
        spec = table_spec(demo, name)
        fake(tmp_path, spec)
        text, tex = make_table(tmp_path, spec)
        said[name] = text.split("\n\n")[1]
        assert ("decide nothing" in tex) == ("decide nothing" in said[name])
    assert "Each row is one training; small differences decide nothing." in said["components"]
    assert "All rows are one training; small differences" in said["guidance"]
    assert "Bold: the best of the rows. Each" in said["components"]
    assert "Bold: the better of a row and its baseline. Each" in said["quantizer"]
    assert "is better. One training alone: w/ STE." in said["assignment"]
    assert "Bold" not in said["assignment"]
    seeds = "over n = 3 trainings per row (seeds 21, 22 and 23); n = 1 for w/ STE."
    assert seeds in (tmp_path / "tables/assignment.md").read_text()


def test_what_most_rows_share_is_not_marked():
    assert table.best({"a": 1.0, "b": 1.0, "c": 0.1}, 1) == set()
    assert table.best({"a": 1.0, "b": 1.0, "c": 0.1, "d": None, "e": 0.2}, 1) == {"a", "b"}
    assert table.best({"a": 1.0, "b": 0.5}, -1) == {"b"}


def test_sign_test_by_hand():
    assert sign_test([-1, -1, -1]) == 0.25
    assert sign_test([-1, -1, 1]) == 1.0
    assert sign_test([1] * 6) == 2 / 2**6
    assert sign_test([0.0]) == 1.0


def test_an_ar_row_shows_the_tokenizer_that_it_froze(tmp_path, demo):
    spec = table_spec(demo, "overview")
    fake(tmp_path, spec)
    edit(tmp_path, "metrics/joint/gear-l/400k/validation.json", "demo", rfid=1.25)
    edit(tmp_path, "metrics/ar/gear-l-frozen/1500k/validation.json", "likelihood", ntp=1.5)
    make_table(tmp_path, spec)
    assert cell(tmp_path, "overview", "GEAR-L", "rfid")["ours"] == "1.25"
    assert cell(tmp_path, "overview", "GEAR-L", "ntp")["ours"] == "1.5"


def test_rows_of_several_resolutions_say_so(tmp_path, demo):
    for name, said in (("resolution", True), ("depth", False)):
        spec = table_spec(demo, name)
        fake(tmp_path, spec)
        text, _ = make_table(tmp_path, spec)
        assert ("24 pixels (1.5×, 1.5× + GEAR)" in text) == said == ("resized to 16" in text)


def test_the_papers_study_shows_both_readings_of_lambda_and_of_the_resize(tmp_path, demo, paper):
    for name, other in (("coefficient", "tokenizer alone"), ("resolution", "no antialias")):
        assert not [r for r in table_spec(demo, name)["rows"] if other in r["row"]]
        spec = table_spec(paper, name)
        fake(tmp_path, spec)
        text, _ = make_table(tmp_path, spec)
        rows, grids = [r for r in spec["rows"] if other in r["row"]], text.count("| Setting |")
        assert len(rows) * grids == text.count(f"{other} |") > 2
        assert "LPIPS in the tokenizers' loss: weight 0.1 (the paper" in text
    runs = [f"gear-l-lambda{value}-tokenizer" for value in ("0.25", "0.75", "1")]
    aligns = [paper.runs[run].settings.align for run in runs]
    assert [(a.weight, a.tokenizer_weight) for a in aligns] == [(0.5, w) for w in (0.25, 0.75, 1)]
    first, again = (
        cell(tmp_path, "resolution", row, "gfid", "plain")
        for row in ("2× + GEAR", "2× + GEAR, no antialias")
    )
    assert (first["protocol"], again["protocol"], again["ours"]) == ("adm", "adm-aliased", "30")
    assert first["paper"] == again["paper"]
    assert "published sweep" in (tmp_path / "tables/coefficient.md").read_text()


def test_rows_of_another_study_and_aliased_rows_are_checked(edited_config):
    folder = edited_config("tables.yaml", "studies: [paper]", "studies: [papers]")
    with pytest.raises(ValueError, match="names no study 'papers'. Did you mean 'paper'"):
        Study("demo", folder=folder)
    edited_config("tables.yaml", "studies: [papers]", "studies: [demo]")
    folder = edited_config("studies/paper.yaml", ", aliased: true}", "}")
    with pytest.raises(ValueError, match="no antialias' shows aliased scores; set protocols.gen"):
        Study("paper", folder=folder)


def test_captions_state_each_weight_of_lpips_behind_a_row(paper, demo):
    for runs, expected in ((["gear-l-frozen"], [0.1]), (["gear-l", "vq-lpips1"], [0.1, 1.0])):
        assert world.lpips_weights(paper, runs) == expected
    assert world.lpips_weights(demo, ["gear-l-frozen"]) == [] == caption.lpips([])
    assert "weight 0.1 and 1 (" in caption.lpips([0.1, 1.0])[0]
    needed = {run for need in paper.needs for run in [need.checkpoint.run]}
    assert "vq-lpips1" not in needed and paper.runs["vq-lpips1"].settings.loss.lpips == 1.0


def test_diverged_and_collapsed_rows_are_marked(tmp_path, demo):
    spec = table_spec(demo, "components")
    fake(tmp_path, spec)
    ste, gan = "metrics/joint/gear-l-ste/400k", "metrics/joint/gear-l-no-gan/400k"
    edit(tmp_path, f"{ste}/validation.json", "codebook", usage=0.07)
    edit(tmp_path, f"{gan}/plain.json", "demo", gfid=None, sfid=None)
    text, tex = make_table(tmp_path, spec)
    assert "| w/ STE † |" in text and "† codebook collapsed" in text and r"^\dagger" in tex
    assert "| w/o GAN | diverged<br>*16.353* |" in text
    assert cell(tmp_path, "components", "w/o GAN", "gfid")["ours"] == "diverged"
    assert "| GEAR (default) | **10." in text and "“w/ STE”: tokenizer and AR" in text


def test_one_diverged_seed_makes_no_mean(tmp_path, demo):
    spec = table_spec(demo, "control")
    fake(tmp_path, spec)
    edit(tmp_path, "metrics/ar/gear-l-frozen-s22/1500k/plain.json", "demo", gfid=None)
    text, _ = make_table(tmp_path, spec)
    row = cell(tmp_path, "control", "GEAR-L", "gfid")
    assert (row["ours"], row["ours_sd"], row["gain"]) == ("diverged", "", "")
    assert "diverged (1 of 3)" in text
    assert cell(tmp_path, "control", "GEAR-L − λ = 0 control", "gfid")["ours"] == "diverged"


def test_the_demo_stands_beside_the_paper_and_is_not_subtracted(tmp_path, demo, paper):
    for study in (demo, paper):
        root = tmp_path / study.name
        fake(root, table_spec(study, "system"))
        text, tex = make_table(root, table_spec(study, "system"))
        made = lines(root / "tables/system.csv")
        quoted = [line for line in made if line["source"] == "quoted"]
        assert {line["row"] for line in quoted} >= {"DiT (1400)", "LlamaGen-B (300)"}
        assert all(line["ours"] == line["delta_paper"] == "" for line in quoted)
        ours = cell(root, "system", "GEAR-L (300)", "gfid", "cfg")
        assert ours["paper"] == "2.95" and ours["source"] == "trained"
        assert cell(root, "system", "GEAR-L (300)", "params_m")["ours"] == "0.123456"
        if study is demo:
            assert not any(line["delta_paper"] for line in made)
            assert "gFD ↓<br>*gFID*" in text and "stand-in classifier features" in text
            assert "another world" in text and "stand-in teacher" in text and "Δ" not in text
            assert "| DiT (1400) | 9.62 |" in text and "| DiT (1400) | 2.27 |" in text
            assert text.count("<details>") == 3 and "not trained here (CFG 1.5)" in text
            assert "ar 1500k = 600" in text
        else:
            assert float(ours["delta_paper"]) == pytest.approx(float(ours["ours"]) - 2.95, abs=1e-4)
            assert "gFID ↓" in text and "Δ = ours − paper" in text
        assert r"\textcolor{gray}{\textbf{\textit{16.96}}}" in tex


def test_a_table_is_equal_bytes_twice(tmp_path):
    smoke = Study("smoke")
    for name in smoke.tables:
        spec = table_spec(smoke, name)
        fake(tmp_path, spec)
        make_table(tmp_path, spec)
        first = {p.name: p.read_bytes() for p in (tmp_path / "tables").glob(f"{name}.*")}
        assert set(first) == {f"{name}.{kind}" for kind in ("csv", "md", "tex", "html")}
        make_table(tmp_path, spec)
        assert first == {p.name: p.read_bytes() for p in (tmp_path / "tables").glob(f"{name}.*")}


def test_a_missing_or_old_file_is_one_sentence(tmp_path, demo):
    spec = table_spec(demo, "components")
    with pytest.raises(SystemExit, match="validation.json is missing|plain.json is missing"):
        make_table(tmp_path, spec)
    fake(tmp_path, spec)
    (tmp_path / "metrics/joint/gear-l/400k/plain.json").write_text('{"adm": {}}')
    with pytest.raises(SystemExit, match="holds adm, not 'demo'; delete it"):
        make_table(tmp_path, spec)
