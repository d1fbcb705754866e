"""Figures from small fakes of the files that the other jobs make.

What a figure draws is read from its CSV and compared with the numbers of the fakes.
"""

import hashlib
import importlib
from pathlib import Path

import numpy as np
import pytest
from fakes import cell, demo_study, edit, fake, lines, make_figure, make_table, pictures
from matplotlib.figure import Figure

import gear.report.figures
from gear.report.curves import reached_at
from gear.report.figures import codebook
from gear.report.figures.drawing import legend_below
from gear.study import jobs
from gear.study.configfiles import read_yaml
from gear.study.registry import CONFIG, Study
from gear.study.specs.tables import figure_spec, inputs, table_spec


@pytest.fixture(scope="module")
def demo():
    return demo_study()


def test_each_kind_has_a_module_of_its_name_that_draws():
    kinds = {entry["kind"] for entry in read_yaml(CONFIG / "figures.yaml").values()}
    folder = Path(gear.report.figures.__file__).parent
    for kind in kinds:
        assert callable(importlib.import_module(f"gear.report.figures.{kind}").draw)
    drawing = {path.stem for path in folder.glob("*.py") if "\ndef draw(" in path.read_text()}
    assert drawing == kinds


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
    assert set(made) == {"svg", "pdf", "png", "csv", "md"}
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
        ("1", "0.2", "24.5"), ("10", "0.25", "22.2")]  # fmt: skip
    assert [(x["usage"], x["dead"], x["perplexity"]) for x in found] == [
        ("1", "0", "15"), ("0.75", "4", "11")]  # fmt: skip
    (reference,) = [x for x in lines(made["csv"]) if x["kind"] == "reference"]
    assert (reference["run"], reference["step"]) == ("gear-l", "1")
    assert all(reference[c] == found[0][c] for c in (*codebook.PANELS, "top100"))
    assert "step 1 of GEAR-L, before any update" in made["md"].read_text() and len(made) == 5


def test_codebook_draws_curves_of_before_the_first_step_had_a_line(tmp_path):
    spec = figure_spec(Study("smoke"), "codebook")
    fake(tmp_path, spec)
    for path in inputs(spec):
        table = (tmp_path / path).read_text().replace("\n1,", "\n5,").replace("top100", "other")
        (tmp_path / path).write_text(table)
    made = make_figure(tmp_path, spec)
    assert {x["kind"] for x in lines(made["csv"])} == {"curve"}
    assert {x["top100"] for x in lines(made["csv"])} == {""}
    assert "these trainings logged no step 1" in made["md"].read_text()


def test_codebook_panels_keep_noise_small_and_distances_visible():
    from pandas import Series

    def span(curves, smallest=0.0, share=False):
        axes = Figure().subplots()
        for curve in curves:
            axes.plot(curve)
        codebook._widen(axes, [Series(curve) for curve in curves], smallest, share)
        return axes.get_ylim()

    noise = [0.997 + 0.0005 * (i % 2) for i in range(40)]
    low, high = span([noise], share=True)
    assert high - low == pytest.approx(4 * 0.0005) and low < 0.997 < 0.9975 < high <= 1
    low, high = span([noise, [0.997] * 20 + [1.0] * 20], share=True)
    assert high - low < 0.0035  # the other curve is six times as far away as the noise
    low, high = span([[1.0] * 39 + [0.999]], smallest=1 / 64, share=True)
    assert high - low == pytest.approx(4 / 64) and high < 1.001
    low, high = span([[2.4, 2.5] * 20])
    assert (low, high) == pytest.approx((2.25, 2.65))


def test_a_legend_is_read_along_its_lines():
    figure = Figure()
    axes = figure.subplots()
    for label in "abcdef":
        axes.plot([0, 1], label=label)
    legend_below(figure, axes)
    figure.draw_without_rendering()
    texts = figure.legends[0].get_texts()
    places = {t.get_text(): t.get_window_extent() for t in texts}
    read = sorted(places, key=lambda name: (-round(places[name].y0 / 5), places[name].x0))
    assert "".join(read) == "abcdef"


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
    assert "cfg" in jobs.evaluations(demo)[demo.checkpoint("gear-l-frozen", "1500k")]
    fake(tmp_path, spec)
    made = make_figure(tmp_path, spec)
    found = [(x["class"], x["seed"], x["line"], x["column"]) for x in lines(made["csv"])]
    assert len(found) == 3 * 8 and found[:2] == [("0", "0", "0", "0"), ("0", "1", "0", "1")]
    assert found[7] == ("0", "7", "1", "2") and found[8] == ("1", "8", "0", "0")
    text = made["md"].read_text()
    assert "none was left out or chosen" in text and "Drawn by GEAR-L, CFG 1.5." in text


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


def test_bars_have_the_spread_of_the_seeds_that_a_table_has(tmp_path, demo, paper):
    spec = figure_spec(demo, "system_bars")
    assert {"metrics/ar/gear-l-frozen-s23/1500k/plain.json"} <= set(inputs(spec))
    fake(tmp_path, spec)
    for row in spec["seeded"]:
        for replica in row["replicas"]:
            edit(tmp_path, replica["files"]["generation"]["plain"], "demo", gfid=10.0)
    for suffix, value in (("", 9.0), ("-s22", 10.0), ("-s23", 11.0)):
        edit(tmp_path, f"metrics/ar/gear-l-frozen{suffix}/1500k/plain.json", "demo", gfid=value)
    assert "Whiskers: ± 10% of the bar" in make_figure(tmp_path, spec)["md"].read_text()
    spec = figure_spec(paper, "system_bars")
    fake(tmp_path / "paper", spec)
    assert "Whiskers" not in make_figure(tmp_path / "paper", spec)["md"].read_text()


def test_bands_across_depth_are_standard_errors_of_the_mean(tmp_path, demo, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    monkeypatch.setattr(
        Axes, "fill_between", lambda _, x, low, high, **look: drawn.append((low, high))
    )
    spec = figure_spec(demo, "depth_similarity")
    spec["analysis"] = spec["analysis"] | {"images": 1024, "batch": 256}
    fake(tmp_path, spec)
    made = make_figure(tmp_path, spec)
    halves = {round((high[0] - low[0]) / 2, 6) for low, high in drawn}  # of the layer with sd 0.01
    assert halves == {2 * 0.01 / 2, 2 * 0.01 / 32}  # of 4 batches, of 1024 images
    assert {line["sd"] for line in lines(made["csv"]) if line["layer"] == "0"} == {"0.01"}
    assert "2 standard errors" in made["md"].read_text()


def test_reconstruction_grid_needs_the_same_originals(tmp_path, demo):
    spec = figure_spec(demo, "reconstruction_grid")
    fake(tmp_path, spec)
    found = lines(make_figure(tmp_path, spec)["csv"])
    assert [x["array"] for x in found[:5]] == ["originals"] * 4 + ["reconstructions"]
    path = tmp_path / spec["rows"][1]["file"]
    np.savez(path, **(pictures("x") | {"originals": np.zeros((4, 8, 8, 1), np.uint8)}))
    with pytest.raises(SystemExit, match="holds other originals than"):
        make_figure(tmp_path, spec)
