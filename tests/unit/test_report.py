"""Tables and figures from small fakes of the files that the other jobs make."""

import csv
import hashlib
import json
import shutil

import numpy as np
import pytest

from gear.report import compare
from gear.report.figures import figure
from gear.report.figures.convergence import reached_at
from gear.report.tables import table
from gear.study.registry import CONFIG, Study
from gear.study.specs.tables import figure_spec, inputs, table_spec

CELLS = {1: 251, 2: 84, 3: 23, 4: 16, 5: 40, 6: 32, 7: 24, 8: 48, 9: 48, 10: 64, 11: 48, 12: 24,
         13: 60, 14: 25, 18: 81, 19: 72}  # fmt: skip
HEAD = (
    "table,row,run,step,steps,seed_n,sampler,protocol,metric,ours,ours_sd,paper,delta_paper,gain,"
    "source"
)
BOOK = {"usage": 0.9, "usage_entropy": 3.9, "perplexity": 49.0, "entropy": 3.2,
        "effective_size": 24.5, "top1": 0.2, "top10": 0.8}  # fmt: skip


def noise(path):
    """A number in [0, 1) that depends on the path alone."""
    return int(hashlib.sha256(path.encode()).hexdigest()[:8], 16) / 2**32


def pictures(path):
    rng = np.random.default_rng(int(1e9 * noise(path)))
    originals = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8, 1)
    return {
        "samples": rng.integers(0, 256, (24, 8, 8, 1), dtype=np.uint8),
        "labels": np.repeat([0, 1, 7], 8),
        "seeds": np.arange(24),
        "originals": originals,
        "reconstructions": 255 - originals,
    }


def analysis(path):
    """What an analysis holds, as far as the report reads it; 3 layers."""
    alike = [f"{m}_{level}" for m in ("cknna", "cka") for level in ("image", "patch")]
    layers = {
        m: {"mean": [noise(f"{path} {m} {i}") for i in range(3)], "sd": [0.01, 0.02, 0.03]}
        for m in (*alike, "moran", "fft_high")
    }
    return {
        "similarity": {f"{m}_{p}": noise(path + m + p) for m in alike for p in ("pre", "post")},
        "states": {f"{m}_{p}": noise(path + m + p) for m in alike for p in ("aligned", "last")},
        "layers": layers,
        "teacher": {"moran": {"mean": 0.4, "sd": 0.1}, "fft_high": {"mean": 0.3, "sd": 0.1}},
        "undefined": {},
    }


def content(path):
    """What the job that makes this file would write, in both protocols."""
    if path.startswith("analysis/"):
        return analysis(path)
    if path.endswith("run.json"):
        return {"parameters": {"ar": 123456, "tokenizer": 65432}, "collapsed_at": None}
    if path.endswith("validation.json"):
        reconstruction = {"rfid": 3 + noise(path), "psnr": 18.5, "ssim": 0.7, "l1": 0.11}
        return {
            "demo": reconstruction,
            "reconstruction": reconstruction,
            "codebook": BOOK,
            "likelihood": {"ntp": 2 + noise(path), "align": -0.5},
        }
    generation = {"gfid": 10 + noise(path), "sfid": 20.0, "is": 7.0, "precision": 0.7,
                  "recall": 0.6}  # fmt: skip
    return {"demo": generation, "adm": generation}


def fake(root, spec):
    """Every input of a spec that is not there yet."""
    for path in inputs(spec):
        target = root / path
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".npz"):
            np.savez(target, **pictures(path))
        elif path.endswith(".csv"):
            target.write_text(
                "step,ntp,top1,top10,entropy,effective_size,usage,perplexity\n"
                "0,3,0.2,0.8,3.2,24.5,1,15\n5,2.9,,,,,,\n10,2.8,0.25,0.82,3.1,22.2,0.75,11\n"
            )
        else:
            target.write_text(json.dumps(content(path)))


def edit(root, path, group, **values):
    found = json.loads((root / path).read_text())
    found[group] |= values
    (root / path).write_text(json.dumps(found))


def lines(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def cell(root, name, row, metric, sampler=None):
    found = [
        line
        for line in lines(root / f"tables/{name}.csv")
        if line["row"] == row and line["metric"] == metric and sampler in (None, line["sampler"])
    ]
    assert len(found) == 1
    return found[0]


def make_table(root, spec):
    output = root / "tables" / spec["name"]
    table.main(["--root", str(root), "--spec", json.dumps(spec), "--output", str(output)])
    return output.with_suffix(".md").read_text(), output.with_suffix(".tex").read_text()


def make_figure(root, spec, folder="figures"):
    output = root / folder / spec["name"]
    figure.main(["--root", str(root), "--spec", json.dumps(spec), "--output", str(output)])
    return {p.name.partition(".")[2]: p for p in output.parent.glob(f"{spec['name']}.*")}


@pytest.fixture(scope="module")
def demo():
    """The demo study, with steps of its own: what the demo costs is tuned elsewhere."""
    study = Study("demo")
    for run in study.runs.values():
        for step, number in {"100k": 100, "400k": 400, "1500k": 600, "4000k": 800}.items():
            if run.stage == "ar" and step in run.steps:
                run.steps[step] = number
    return study


@pytest.fixture(scope="module")
def paper():
    return Study("paper")


# ---- specs -------------------------------------------------------------------------------------


def test_paper_csv_holds_every_cell():
    counts = {}
    for line in lines(CONFIG / "paper.csv"):
        counts[int(line["table"])] = counts.get(int(line["table"]), 0) + 1
        float(line["value"])
    assert counts == CELLS


def test_every_table_of_the_paper_study_has_a_spec_and_its_paper_values(paper):
    assert len(paper.tables) == 18
    for name, entry in paper.tables.items():
        spec = json.loads(json.dumps(table_spec(paper, name)))
        assert inputs(spec)
        for row, line in zip(spec["rows"], entry["rows"], strict=True):
            assert bool(row["paper"]) == ("paper" in line), (name, row["row"])
    guidance = table_spec(paper, "guidance")["rows"][1]
    assert guidance["paper"]["0"] == {"value": "4.811", "protocol": "adm"}


def test_inputs_are_what_the_registry_evaluates(demo):
    """No table or figure reads a metrics file that no job makes."""
    made = set()
    for (run, step), samplers in demo.evaluations().items():
        folder = demo.path(run, step, "metrics").removeprefix(demo.root + "/")
        made |= {f"{folder}/{name}.json" for name in (*samplers, "validation")}
    specs = [table_spec(demo, t) for t in demo.tables]
    specs += [figure_spec(demo, f) for f in demo.figures]
    read = {p for spec in specs for p in inputs(spec) if p.startswith("metrics/")}
    assert read <= made


def test_a_misspelt_paper_row_names_the_nearest(tmp_path):
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    text = (folder / "tables.yaml").read_text()
    (folder / "tables.yaml").write_text(text.replace('"tau 0.050"', '"tau 0.05O"'))
    study = Study("demo", folder=folder)
    with pytest.raises(ValueError, match="no row 'tau 0.05O'. Did you mean 'tau 0.050'?"):
        table_spec(study, "temperature")
    with pytest.raises(ValueError, match="Did you mean 'components'?"):
        table_spec(study, "component")


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
        study = Study("demo", folder=folder)
        for name in ("quantizer", "reconstruction"):
            table_spec(study, name)


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
    assert "| GEAR-L | 10.00 ± 1.00 (−3.00) |" in text
    assert f"| {name} | −3.00 ± 1.00 (3/3, p 0.25) |" in text
    assert r"$-$3.00 $\pm$ 1.00 (3/3, p 0.25)" in tex
    assert "no quality measure" in text and "(seeds 21, 22 and 23)" in text


def test_sign_test_by_hand():
    assert table.sign_test([-1, -1, -1]) == 0.25
    assert table.sign_test([-1, -1, 1]) == 1.0
    assert table.sign_test([1] * 6) == 2 / 2**6
    assert table.sign_test([0.0]) == 1.0


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


def test_diverged_and_collapsed_rows_are_marked(tmp_path, demo):
    spec = table_spec(demo, "components")
    fake(tmp_path, spec)
    ste, gan = "metrics/joint/gear-l-ste/400k", "metrics/joint/gear-l-no-gan/400k"
    edit(tmp_path, f"{ste}/validation.json", "codebook", usage=0.07)
    edit(tmp_path, f"{gan}/plain.json", "demo", gfid=None, sfid=None)
    text, tex = make_table(tmp_path, spec)
    assert "| w/ STE † |" in text and "† codebook collapsed" in text and r"^\dagger" in tex
    assert "| w/o GAN | diverged ‖ *16.353* |" in text
    assert cell(tmp_path, "components", "w/o GAN", "gfid")["ours"] == "diverged"
    assert "| **GEAR** | **10." in text and "Bold: the default" in text


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
            assert "gFD ↓ (CFG 1.5) ‖ *gFID*" in text and "stand-in classifier features" in text
            assert "another world" in text and "stand-in teacher" in text and "Δ" not in text
            assert "| DiT (1400) (quoted) | – | – ‖ *675* | – ‖ *9.62* |" in text
            assert "ar 1500k = 600" in text
        else:
            assert float(ours["delta_paper"]) == pytest.approx(float(ours["ours"]) - 2.95, abs=1e-4)
            assert "gFID ↓" in text and "Δ = ours − paper" in text
        assert r"\textcolor{gray}{\textit{9.62}}" in tex


def test_a_table_is_equal_bytes_twice_and_says_what_it_is_made_of(tmp_path):
    smoke = Study("smoke")
    for name in smoke.tables:
        spec = table_spec(smoke, name)
        fake(tmp_path, spec)
        make_table(tmp_path, spec)
        first = {p.name: p.read_bytes() for p in (tmp_path / "tables").glob(f"{name}.*")}
        assert set(first) == {
            f"{name}.{kind}" for kind in ("csv", "md", "tex", "html", "prov.json")
        }
        make_table(tmp_path, spec)
        assert first == {p.name: p.read_bytes() for p in (tmp_path / "tables").glob(f"{name}.*")}
        proof = json.loads(first[f"{name}.prov.json"])
        assert sorted(proof["inputs"]) == inputs(spec) and proof["rows"]
        for path, digest in proof["inputs"].items():
            assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == digest


def test_a_missing_or_old_file_is_one_sentence(tmp_path, demo):
    spec = table_spec(demo, "components")
    with pytest.raises(SystemExit, match="validation.json is missing|plain.json is missing"):
        make_table(tmp_path, spec)
    fake(tmp_path, spec)
    (tmp_path / "metrics/joint/gear-l/400k/plain.json").write_text('{"adm": {}}')
    with pytest.raises(SystemExit, match="holds adm, not 'demo'; delete it"):
        make_table(tmp_path, spec)


# ---- figures -----------------------------------------------------------------------------------


def test_reached_at_interpolates_in_log_steps():
    # from 20 at 100 steps to 10 at 400 steps: 15 is half-way in log steps, at 200
    assert reached_at([(100, 20.0), (400, 10.0)], 15.0, -1) == pytest.approx(200)
    assert reached_at([(100, 20.0), (400, 10.0)], 9.0, -1) is None
    assert reached_at([(100, 20.0), (400, 10.0)], 25.0, -1) == 100
    assert reached_at([(100, 2.0), (400, 4.0)], 3.0, 1) == pytest.approx(200)


def test_convergence_draws_and_states_the_speedup(tmp_path, demo):
    spec = figure_spec(demo, "convergence")
    fake(tmp_path, spec)
    curves = {"llamagen-repa-l": (30, 25, 20, 15), "gear-l-frozen": (20, 10, 9, 8),
              "llamagen-repa-b": (30, 25, 20, 15), "gear-b-frozen": (31, 26, 21, 16)}  # fmt: skip
    for run, values in curves.items():
        for step, value in zip(("100k", "400k", "1500k", "4000k"), values, strict=True):
            edit(tmp_path, f"metrics/ar/{run}/{step}/plain.json", "demo", gfid=value)
    made = make_figure(tmp_path, spec)
    assert set(made) == {"svg", "pdf", "png", "csv", "md", "prov.json"}
    found = lines(made["csv"])
    points = [x for x in found if x["kind"] == "point" and x["curve"] == "GEAR-L"]
    assert [(x["steps"], x["value"]) for x in points] == [
        ("100", "20"), ("400", "10"), ("600", "9"), ("800", "8")]  # fmt: skip
    factor = {x["curve"]: x for x in found if x["kind"] == "speedup"}
    assert (factor["GEAR-L"]["steps"], factor["GEAR-L"]["value"]) == ("200", "4")
    assert factor["GEAR-B"]["value"] == "not reached"
    text = made["md"].read_text()
    assert "reached at 200 steps (4.0×)" in text and "is not reached" in text and "gFD" in text
    again = make_figure(tmp_path, spec, "again")
    assert all(made[kind].read_bytes() == again[kind].read_bytes() for kind in made)
    assert b"dc:date" not in made["svg"].read_bytes()
    assert b"CreationDate" not in made["pdf"].read_bytes()


def test_codebook_draws_what_its_curves_hold(tmp_path):
    spec = figure_spec(Study("smoke"), "codebook")
    fake(tmp_path, spec)
    made = make_figure(tmp_path, spec)
    found = [x for x in lines(made["csv"]) if x["label"] == "GEAR-L"]
    assert [(x["step"], x["top1"], x["effective_size"]) for x in found] == [
        ("0", "0.2", "24.5"), ("10", "0.25", "22.2")]  # fmt: skip
    assert [(x["usage"], x["dead"], x["perplexity"]) for x in found] == [
        ("1", "0", "15"), ("0.75", "4", "11")]  # fmt: skip
    (reference,) = [x for x in lines(made["csv"]) if x["kind"] == "reference"]
    assert (reference["run"], reference["entropy"]) == ("vq", "3.2")
    assert reference["usage"] == reference["perplexity"] == ""  # of more tokens than a batch has
    assert len(made) == 6


def test_samples_grid_lists_every_picture(tmp_path):
    spec = figure_spec(Study("smoke"), "samples")
    fake(tmp_path, spec)
    made = make_figure(tmp_path, spec)
    found = lines(made["csv"])
    assert len(found) == len(spec["rows"]) * 3 * 3  # 3 classes, 3 pictures of each
    for line in found[::5]:
        with np.load(tmp_path / line["source"]) as archive:
            picture = archive["samples"][int(line["index"])]
            assert archive["labels"][int(line["index"])] == int(line["class"])
        assert hashlib.sha256(picture.tobytes()).hexdigest() == line["sha256"]
    again = make_figure(tmp_path, spec, "again")
    assert all(made[kind].read_bytes() == again[kind].read_bytes() for kind in made)


def test_class_grids_show_the_first_of_each_class_and_white_where_there_are_none(tmp_path, demo):
    spec = figure_spec(demo, "class_grids")
    assert inputs(spec) == ["samples/ar/gear-l-frozen/1500k/cfg.pictures.npz"]
    assert "cfg" in demo.evaluations()["gear-l-frozen", "1500k"]
    fake(tmp_path, spec)
    made = make_figure(tmp_path, spec)
    found = [(x["class"], x["seed"], x["line"], x["column"]) for x in lines(made["csv"])]
    assert len(found) == 3 * 8 and found[:2] == [("0", "0", "0", "0"), ("0", "1", "0", "1")]
    assert found[7] == ("0", "7", "1", "2") and found[8] == ("1", "8", "0", "0")
    assert "none was left out or chosen" in made["md"].read_text()


def test_bars_are_the_numbers_of_the_table_and_quoted_ones_the_paper_s_alone(tmp_path, demo, paper):
    for study in (demo, paper):
        root, spec = tmp_path / study.name, figure_spec(study, "system_bars")
        fake(root, spec)
        fake(root, table_spec(study, "system"))
        make_table(root, table_spec(study, "system"))
        made = make_figure(root, spec)
        drawn = {(x["panel"], x["group"], x["label"]): x for x in lines(made["csv"])}
        for sampler in ("plain", "cfg"):
            bar = drawn[sampler, "L", "GEAR"]
            assert bar["value"] == cell(root, "system", "GEAR-L (300)", "gfid", sampler)["ours"]
        quoted = {k: x["value"] for k, x in drawn.items() if x["source"] == "quoted"}
        assert len(quoted) == (6 if study is paper else 0)
        if study is paper:
            assert (quoted["plain", "XL", "LlamaGen"], quoted["cfg", "B", "LlamaGen"]) == (
                "15.54", "8.73")  # fmt: skip
            assert "Quoted from the paper's Table 1" in made["md"].read_text()
    edit(root, "metrics/ar/gear-b-frozen/1500k/plain.json", "adm", gfid=None)
    drawn = {(x["panel"], x["group"], x["label"]): x for x in lines(make_figure(root, spec)["csv"])}
    assert drawn["plain", "B", "GEAR"]["value"] == "diverged"


def test_reconstruction_grid_needs_the_same_originals(tmp_path, demo):
    spec = figure_spec(demo, "reconstruction_grid")
    fake(tmp_path, spec)
    found = lines(make_figure(tmp_path, spec)["csv"])
    assert [x["array"] for x in found[:5]] == ["originals"] * 4 + ["reconstructions"]
    path = tmp_path / spec["rows"][1]["file"]
    np.savez(path, **(pictures("x") | {"originals": np.zeros((4, 8, 8, 1), np.uint8)}))
    with pytest.raises(SystemExit, match="holds other originals than"):
        make_figure(tmp_path, spec)


# ---- compare -----------------------------------------------------------------------------------


def write_tables(folder, name, *cells):
    """A table with (row, metric, seed_n, ours, ours_sd) cells."""
    path = folder / "tables" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [HEAD] + [
        f"{name},{row},run,400k,400,{n},,demo,{metric},{ours},{sd},,,,trained"
        for row, metric, n, ours, sd in cells
    ]
    path.write_text("\n".join(text) + "\n")


def test_compare_tells_equal_within_and_different(tmp_path, capsys):
    a, b = tmp_path / "a", tmp_path / "b"
    write_tables(b, "t", ("x", "gfid", 3, "10", "1"), ("y", "gfid", 1, "10", ""),
                 ("z", "usage", 1, "1", ""), ("w", "gfid", 1, "diverged", ""))  # fmt: skip
    assert compare.compare(b, b, strict=True) == 0
    assert "4 equal, 0 within, 0 different, 0 missing." in capsys.readouterr().out
    write_tables(a, "t", ("x", "gfid", 3, "13", "9"), ("y", "gfid", 1, "11.4", ""),
                 ("z", "usage", 1, "1", ""), ("w", "gfid", 1, "diverged", ""))  # fmt: skip
    assert compare.compare(a, b, strict=True) == 0
    assert "2 equal, 2 within, 0 different" in capsys.readouterr().out
    write_tables(a, "t", ("x", "gfid", 3, "13.1", "9"), ("y", "gfid", 1, "12", ""),
                 ("z", "usage", 1, "0.9", ""))  # fmt: skip
    assert compare.compare(a, b) == 0
    out = capsys.readouterr().out
    assert "0 equal, 0 within, 3 different, 1 missing." in out
    assert "different  t: x@400k, gfid: 13.1, not 10, allowed ± 3" in out
    assert f"missing    t: w@400k, gfid: only in {b}" in out
    assert compare.compare(a, b, strict=True) == 1


def test_compare_names_missing_tables_and_folders(tmp_path, capsys):
    a, b = tmp_path / "a", tmp_path / "b"
    write_tables(a, "t", ("x", "gfid", 1, "10", ""))
    with pytest.raises(ValueError, match="holds no tables/.*make demo"):
        compare.compare(a, b)
    write_tables(b, "t", ("x", "gfid", 1, "10", ""))
    write_tables(b, "u", *[(f"r{i}", "gfid", 1, "10", "") for i in range(30)])
    assert compare.compare(a, b) == 0 and compare.compare(a, b, strict=True) == 1
    assert f"u  only in {b}" in capsys.readouterr().out
    write_tables(a, "u", *[(f"r{i}", "gfid", 1, "99", "") for i in range(30)])
    compare.compare(a, b)
    out = capsys.readouterr().out
    assert out.count("\ndifferent  ") == 20 and "and 10 more" in out
