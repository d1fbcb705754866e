"""Tables, figures and claims of text to image, from small fakes of the files of other jobs."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import PROMPTS, cell, edit, fake, lines, make_figure, make_table

from gear.files.mistakes import Mistake
from gear.report import captioned, compare, index
from gear.report.curves import loss_diverged, running_mean, sooner
from gear.report.files import Results
from gear.report.make import make
from gear.study import elsewhere
from gear.study.registry import Study
from gear.study.specs.configuration import same
from gear.study.specs.index import index_spec
from gear.study.specs.tables import figure_spec, inputs, table_spec

SEEDS = ("", "-s22", "-s23")
SDPA = "those of the empty caption, come by transformers' SDPA path"


@pytest.fixture(scope="module")
def demo():
    study = Study("demo")
    for run in study.runs.values():  # what the demo costs is tuned elsewhere
        if run.stage == "t2i":
            run.steps.update({"50k": 75, "100k": 150, "200k": 300, "390k": 600})
    return study


@pytest.fixture(scope="module")
def paper():
    return Study("paper")


def as_job(spec):
    return json.loads(json.dumps(spec))


def made(root, study, name):
    spec = as_job(table_spec(study, name))
    fake(root, spec)
    return make_table(root, spec)


def score_file(folder, of="gear-t2i", metric="dpg", scale="16", **changed):
    """A score that a scorer of others gave, in its place below `folder`."""
    path = folder / f"scored/demo/{of}/390k/{metric}-cfg{scale}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"run": of, "step": "390k", "weights_sha256": "ab" * 32, "guidance": float(scale),
               "score": 70.0, "prompts_sha256": "cd" * 32}  # fmt: skip
    path.write_text(json.dumps(content | changed))
    return path


# ---- gpic --------------------------------------------------------------------------------------


def test_gpic_has_means_at_the_end_and_one_training_before(tmp_path, demo):
    spec = as_job(table_spec(demo, "gpic"))
    fake(tmp_path, spec)
    for run, values in {"llamagen-repa-t2i": (4, 5, 6), "gear-t2i": (3, 3, 3)}.items():
        for suffix, value in zip(SEEDS, values, strict=True):
            edit(tmp_path, f"metrics/t2i/{run}{suffix}/390k/text.json", "demo_text", fdd=value)
    text, _ = make_table(tmp_path, spec)
    end, early = (cell(tmp_path, "gpic", f"GEAR ({m})", "fdd", "text") for m in ("390k", "50k"))
    assert (end["ours"], end["ours_sd"], end["seed_n"], end["gain"]) == ("3", "0", "3", "-2")
    assert (early["seed_n"], early["ours_sd"], early["protocol"]) == ("1", "", "demo_text")
    assert (end["paper"], end["delta_paper"]) == ("200.9", "")  # of another world
    own = cell(tmp_path, "gpic", "GEAR, identity (390k)", "fdd", "text")
    assert (own["seed_n"], own["gain"], own["paper"]) == ("1", "", "")
    assert "| GEAR (390k) | 390k = 600 | **3.00 ± 0.00** (−2.00)<br>***200.9***" in text
    assert "FD\\* ↓<br>*FDD*" in text and "all that is marked \\*" in text and SDPA in text
    assert "| JiT-GPIC-1.1B (CFG 4) | 87.80 | 0.933 | 0.765 | 1.012 | 0.906 |" in text
    assert "1 row of the paper's that was not trained here (No guidance)" in text


def test_only_the_first_seed_is_scored_before_the_end(demo):
    read = [path for path in inputs(table_spec(demo, "gpic")) if path.startswith("metrics/t2i")]
    assert [p for p in read if "-s22/" in p] == [p for p in read if "-s22/390k" in p] != []
    assert "metrics/t2i/gear-t2i/50k/text-cfg1.75.json" in read


def test_a_caption_states_how_the_pictures_were_drawn(tmp_path, demo):
    text, _ = made(tmp_path, demo, "gpic")
    assert (
        "text-cfg1.75: guidance 1.75, temperature 1, top-k off, top-p off, 1 image a prompt, "
        f"sampling seed 0, prompts sha256 {'5e' * 8}." in text
    )
    spec = as_job(table_spec(demo, "gpic"))
    edit(tmp_path, "metrics/t2i/gear-t2i/50k/text.json", "record", top_k=50)
    assert "top-k 50" in make_table(tmp_path, spec)[0]  # two records: each names its rows
    assert "(GEAR (50k))" in make_table(tmp_path, spec)[0]


def test_a_record_is_said_once_for_all_its_rows():
    record = {"guidance": 1.0, "prompts_sha256": "0" * 64}
    rows = [SimpleNamespace(records={"text": record}, spec={"row": name}) for name in "ab"]
    (said,) = captioned.records(rows)
    assert said.count("guidance") == 1 and "(a" not in said


# ---- benchmarks and guidance -------------------------------------------------------------------


def test_a_column_that_nobody_measures_here_has_the_papers_value_alone(tmp_path, demo):
    text, tex = made(tmp_path, demo, "t2i_benchmarks")
    row = next(line for line in text.splitlines() if line.startswith("| GEAR |"))
    assert row.startswith("| GEAR | ***0.086*** | ***0.227*** | *55.369* |")
    dpg = cell(tmp_path, "t2i_benchmarks", "GEAR", "dpg", "text-cfg16")
    assert (dpg["ours"], dpg["paper"], dpg["seed_n"]) == ("", "72.881", "")
    assert cell(tmp_path, "t2i_benchmarks", "GEAR", "digit", "text")["seed_n"] == "3"
    assert "FID and all" not in text and "With guidance (16; CLIP and FID 1.75):" in text
    assert "& – & " not in tex.split("GEAR &")[1].split("\\\\")[0]


def test_what_a_study_cannot_measure_and_the_paper_does_not_print_is_left_out(paper):
    spec = table_spec(paper, "t2i_benchmarks")
    assert ["digit", "text"] in spec["left_out"] and "digit" not in [
        c["metric"] for c in spec["columns"]
    ]
    claims = paper.claims_specs["claims_t2i"]
    asked = {test["column"]["metric"] for claim in claims["claims"] for test in claim["tests"]}
    assert claims["left_out"] == 5 and not asked & {"digit", "stroke", "slant"}


def test_a_score_from_elsewhere_becomes_the_cell(tmp_path, monkeypatch, demo):
    monkeypatch.chdir(tmp_path)
    path = score_file(tmp_path, score=71.5)
    spec = as_job(table_spec(demo, "t2i_benchmarks"))
    assert path.relative_to(tmp_path).as_posix() in inputs(spec)
    fake(tmp_path, spec | {"rows": [r for r in spec["rows"] if "elsewhere" not in str(r)]})
    for need in inputs(spec):
        if not need.startswith("scored/") and not (tmp_path / need).exists():
            fake(tmp_path, {"rows": [{"file": need}]})
    text, _ = make_table(tmp_path, spec)
    dpg = cell(tmp_path, "t2i_benchmarks", "GEAR", "dpg", "text-cfg16")
    assert (dpg["ours"], dpg["seed_n"], dpg["paper"]) == ("71.5", "1", "72.881")
    assert "DPG at 16: guidance 16, prompts sha256 cdcdcdcdcdcdcdcd" in text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"run": "gear-t2i-identity"}, "a score of gear-t2i-identity@390k .* not of gear-t2i@390k"),
        ({"step": "50k"}, "move it to the folder of its own run"),
        ({"guidance": 4.0}, "at guidance 4, not of .* at guidance 16"),
        ({"score": "high"}, "'score' is the text 'high'"),
    ],
)
def test_a_score_of_another_run_is_refused(tmp_path, monkeypatch, demo, changed, message):
    monkeypatch.chdir(tmp_path)
    score_file(tmp_path, **changed)
    with pytest.raises(Mistake, match=message):
        table_spec(demo, "t2i_benchmarks")


def test_a_score_of_other_weights_is_refused(tmp_path):
    path = score_file(tmp_path)
    assert elsewhere.score(path, "ab" * 32) == (70.0, "cd" * 32)
    assert elsewhere.score(path, None)[0] == 70.0  # an older record does not state them
    with pytest.raises(Mistake, match="weights with sha256 abababab.* has 12121212"):
        elsewhere.score(path, "12" * 32)


def test_guidance_has_our_scales_and_the_papers_others_apart(tmp_path, demo, paper):
    text, _ = made(tmp_path, demo, "t2i_guidance")
    ours = [r["row"] for r in table_spec(demo, "t2i_guidance")["rows"] if r["source"] == "trained"]
    scales = ("1", "1.75", "4", "8", "16")
    assert ours == [f"{who}, CFG {g}" for g in scales for who in ("LlamaGen-REPA", "GEAR")]
    assert "14 rows of the paper's that this study does not score" in text
    assert "| GEAR, CFG 20 | 72.806 | 0.3413 | 0.4705 |" in text
    rows = table_spec(paper, "t2i_guidance")["rows"]
    assert len(rows) == 24 and sum(row["source"] == "trained" for row in rows) == 4


def test_a_sampler_of_classes_does_not_score_a_run_of_captions(edited_config):
    folder = edited_config("tables.yaml", "run: gear-t2i@390k, sampler: text,",
                           "run: gear-l@400k, sampler: text,")  # fmt: skip
    with pytest.raises(Mistake, match="gear-l, which reads classes, but sampler 'text' draws from"):
        Study("demo", folder=folder)


# ---- settings ----------------------------------------------------------------------------------


def test_the_papers_study_has_the_settings_of_table_17(paper):
    rows = table_spec(paper, "t2i_configuration")["rows"]
    others = {row["row"]: row["ours"] for row in rows if not row["same"]}
    assert set(others) <= {"torch.compile"}, others  # it changes results by rounding alone
    assert len(rows) == 29


def test_settings_stand_beside_the_papers(tmp_path, demo):
    text, _ = made(tmp_path, demo, "t2i_configuration")
    assert "| Aligned layer | 12 | *1* |" in text and "| Attention | causal | causal |" in text
    assert "Text encoder, frozen: stand-in" in text and "run gear-t2i resolves to at 390k" in text
    line = cell(tmp_path, "t2i_configuration", "Batch", "setting")
    assert (line["ours"], line["paper"], line["run"]) == ("32", "256", "gear-t2i")
    entry = next(e for e in index_spec(demo)["tables"] if e["name"] == "t2i_configuration")
    assert f"{entry['said']} |" in index.tables(Results(tmp_path), [entry])


def test_a_setting_is_the_papers_by_value():
    assert same("390625", "~390k") and same("0.1", "0.1") and same("1", "1.0")
    assert same("DINOv2-B", "DINOv2") and same("100000000", "~100M")
    assert not same("400000", "~390k") and not same("12", "120") and not same("bf16", "fp32")


# ---- figures -----------------------------------------------------------------------------------


def test_a_running_mean_weighs_lines_by_their_steps():
    points = [(1, 9.0), (10, 4.0), (20, 2.0), (30, 1.0)]
    means = dict(running_mean(points, 20))
    assert means[1] == 9.0 and means[10] == pytest.approx((9 + 9 * 4) / 10)
    assert means[20] == pytest.approx((9 + 9 * 4 + 10 * 2) / 20) and means[30] == 1.5
    assert dict(running_mean(points, 5)) == dict(points)


def test_a_loss_is_sooner_where_its_baseline_ends():
    base = [(10, 3.0), (20, 2.0)]
    found = sooner([(10, 2.5), (15, 1.9), (20, 1.0)], base)
    assert (found.reached, found.target, found.at_once) == (15.0, 2.0, False)
    assert found.factor == pytest.approx(20 / 15)
    assert sooner([(10, 2.5), (20, 2.1)], base).factor is None
    assert sooner([(10, 2.0)], base).at_once


def test_dynamics_states_the_factor_beside_the_papers(tmp_path, demo):
    spec = as_job(figure_spec(demo, "t2i_dynamics"))
    fake(tmp_path, spec)
    files = make_figure(tmp_path, spec)
    found = lines(files["csv"])
    factors = [x for x in found if x["kind"] == "speedup"]
    assert [(x["metric"], x["seed"], x["paper"]) for x in factors] == [
        (metric, seed, printed) for metric, printed in (("ntp", "2.5"), ("align", "11.1"))
        for seed in ("21", "22", "23")]  # fmt: skip
    # NTP falls twice as fast, so its running mean is there a little after half of the steps
    assert {x["value"] for x in factors if x["metric"] == "ntp"} == {f"{600 / 310:.6g}"}
    assert {x["value"] for x in factors if x["metric"] == "align"} == {"not reached"}
    text = files["md"].read_text()
    assert "1.9×, 1.9×, 1.9×. The paper prints 2.5×." in text and SDPA in text
    assert "The NTP losses of two tokenizers do not compare" in text and "over 2%" in text
    again = make_figure(tmp_path, spec, "again")
    assert all(files[kind].read_bytes() == again[kind].read_bytes() for kind in files)


def test_dynamics_without_losses_is_one_sentence(tmp_path, demo):
    spec = as_job(figure_spec(demo, "t2i_dynamics"))
    fake(tmp_path, spec)
    path = tmp_path / "t2i/gear-t2i/390k/curves.csv"
    for content, message in (
        ("step,align_ar\n1,0\n", "no column 'ntp'"),
        ("step,ntp,align_ar\n1,x,0\n", "is damaged"),
        ("step,ntp,align_ar\n1,,0\n", "no number in 'ntp'"),
    ):
        path.write_text(content)
        with pytest.raises(SystemExit, match=message):
            make_figure(tmp_path, spec)


def test_a_training_that_diverged_ends_before_its_first_nan(tmp_path, demo):
    spec = as_job(figure_spec(demo, "t2i_dynamics"))
    fake(tmp_path, spec)
    path = tmp_path / "t2i/gear-t2i/390k/curves.csv"
    path.write_text("step,ntp,align_ar\n10,4,0\n20,3,-0.1\n30,nan,nan\n")
    found = lines(make_figure(tmp_path, spec)["csv"])
    drawn = [x for x in found if x["run"] == "gear-t2i" and x["kind"] == "running mean"]
    assert [x["step"] for x in drawn if x["metric"] == "ntp"] == ["10", "20"]
    curve = next(each for each in spec["curves"] if each["label"] == "GEAR")
    assert loss_diverged(Results(tmp_path), {"metric": "ntp"}, curve)


def test_prompts_stand_beside_the_first_pictures_of_each_model(tmp_path, demo):
    spec = as_job(figure_spec(demo, "t2i_samples"))
    fake(tmp_path, spec)
    files = make_figure(tmp_path, spec)
    found = lines(files["csv"])
    assert len(found) == 2 * len(PROMPTS) * 6
    assert [x["prompt"] for x in found[:18:6]] == PROMPTS
    assert {x["row"] for x in found} == {"LlamaGen-REPA", "GEAR"}
    assert [x["index"] for x in found[:8]] == [str(i) for i in range(8)]  # none is left out
    text = files["md"].read_text()
    assert "the first 6 pictures" in text and "†: in words that training never has" in text
    assert "guidance 4" in text and SDPA in text


def test_pictures_of_other_prompts_are_not_put_side_by_side(tmp_path, demo):
    spec = as_job(figure_spec(demo, "t2i_samples"))
    fake(tmp_path, spec)
    path = tmp_path / spec["rows"][1]["file"]
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"prompts_prompts": arrays["prompts_prompts"][::-1]})
    with pytest.raises(SystemExit, match=r"gear-t2i/390k.* has other prompts than"):
        make_figure(tmp_path, spec)
    np.savez(path, **arrays | {"prompts_prompts": np.arange(3)})
    with pytest.raises(SystemExit, match="no array of ours"):
        make_figure(tmp_path, spec)


def test_words_differ_by_digit_stroke_and_slant(tmp_path, demo):
    spec = as_job(figure_spec(demo, "t2i_words"))
    fake(tmp_path, spec)
    files = make_figure(tmp_path, spec)
    found = lines(files["csv"])
    assert len(found) == 40 and [x["class"] for x in found[:10]] == [str(d) for d in range(10)]
    assert found[13]["prompt"] == "3, thin, leaning right" and found[13]["line"] == "1"
    assert "only the words differ" in files["md"].read_text()
    path = tmp_path / spec["rows"][0]["file"]
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"words_prompts": arrays["words_prompts"][::-1]})
    with pytest.raises(SystemExit, match="not of the digits 0 to 9 in turn"):
        make_figure(tmp_path, spec)


def test_words_are_of_studies_that_make_their_captions(edited_config, paper, demo):
    assert "t2i_words" in demo.figures and "t2i_words" not in paper.figures
    folder = edited_config("studies/paper.yaml", "figures: all", "figures: [t2i_words]")
    with pytest.raises(Mistake, match="figure 't2i_words' needs captions that the study makes"):
        Study("paper", folder=folder)


def test_a_study_without_captions_has_no_table_of_them():
    study = Study("folder")
    names = [*study.tables, *study.figures]
    assert not [name for name in names if name.startswith(("t2i", "gpic"))]
    assert list(study.claims_specs) == ["claims"]


# ---- claims ------------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path, demo):
    """page(): the faked page as {claim: [its CSV lines]}; page.root is its folder."""
    spec = demo.claims_specs["claims_t2i"]
    fake(tmp_path, as_job(spec))

    def judged():
        make("claims", tmp_path, as_job(spec), tmp_path / "tables/claims_t2i")
        found = {}
        for line in lines(tmp_path / "tables/claims_t2i.csv"):
            found.setdefault(line["claim"], []).append(line)
        return found

    judged.root = tmp_path
    return judged


def test_claims_of_text_to_image_have_a_page_of_their_own(page, demo):
    found = page()
    assert not found.keys() & {claim["claim"] for claim in demo.claims_spec["claims"]}
    (line,) = found["GEAR reaches the NTP loss at which its baseline ends in fewer steps"]
    assert (line["verdict"], line["holding"]) == ("reproduced (n = 3)", "3")
    assert (line["paper_difference"], line["difference"]) == ("2.5", f"{600 / 310:.6g}")
    (line,) = found["GEAR reaches the alignment at which its baseline ends in fewer steps"]
    assert (line["verdict"], line["difference"]) == ("not reproduced (n = 3)", "")
    text = (page.root / "tables/claims_t2i.md").read_text()
    assert "| 1.9×, 3 of 3 seeds | 2.5× |" in text and "see the figure t2i\\_dynamics" in text
    assert "prints, in its protocol and on GPIC" in text and text.startswith("## Text to image")


def test_a_claim_on_fdd_holds_on_every_seed(page):
    claim = "On captions GEAR has a lower FDD than LlamaGen-REPA, without guidance"
    for run, values in {"llamagen-repa-t2i": (4, 5, 6), "gear-t2i": (3, 4, 5)}.items():
        for suffix, value in zip(SEEDS, values, strict=True):
            edit(page.root, f"metrics/t2i/{run}{suffix}/390k/text.json", "demo_text", fdd=value)
    assert page()[claim][0]["verdict"] == "reproduced (n = 3)"
    edit(page.root, "metrics/t2i/gear-t2i-s22/390k/text.json", "demo_text", fdd=9)
    assert page()[claim][0]["verdict"] == "not reproduced (n = 3)"


def test_one_training_is_sooner_only_by_more_than_the_spread(tmp_path, paper):
    spec = as_job(paper.claims_specs["claims_t2i"])
    fake(tmp_path, spec)
    make("claims", tmp_path, spec, tmp_path / "tables/claims_t2i")
    found = {line["claim"]: line for line in lines(tmp_path / "tables/claims_t2i.csv")}
    line = found["GEAR reaches the NTP loss at which its baseline ends in fewer steps"]
    assert line["verdict"] == "not decidable here (n = 1)"  # no spread is known


def test_a_page_of_claims_is_not_called_as_a_table(edited_config):
    edited_config("claims.yaml", "  claims_t2i: {title", "  gpic: {title")
    folder = edited_config("claims.yaml", "    page: claims_t2i", "    page: gpic")
    with pytest.raises(Mistake, match="there is a table 'gpic' already; rename the page"):
        Study("demo", folder=folder)


def test_compare_allows_what_other_machines_change(tmp_path, demo, page, capsys):
    made(tmp_path, demo, "t2i_guidance")
    made(tmp_path, demo, "t2i_configuration")
    page()
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "tables", other / "tables")
    assert compare.compare(tmp_path, other, strict=True) == 0
    said = capsys.readouterr().out
    assert "Verdicts of the claims: 14 of 14 equal." in said and "missing" in said
    path = other / "tables/t2i_guidance.csv"
    digit = cell(tmp_path, "t2i_guidance", "GEAR, CFG 4", "digit")["ours"]
    for change, code in ((0.04, 0), (0.06, 1)):
        text = (tmp_path / "tables/t2i_guidance.csv").read_text()
        near = text.replace(f"digit,{digit}", f"digit,{float(digit) + change:.6g}")
        assert near != text
        path.write_text(near)
        assert compare.compare(tmp_path, other, strict=True) == code
