"""The page of a study's results, made from the committed results of the demo.

Its links, order, marks and numbers are compared with the files and specs that it is made of. How it
looks in a browser is tests/slow/test_browser.py.
"""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas
import pytest
from fakes import fake, make_figure, make_table

from gear.cli.main import main
from gear.report import page
from gear.report.files import Results
from gear.report.tables.judge import Judge
from gear.study.registry import Study

RESULTS = Path(__file__).resolve().parents[2] / "results/demo"
VOID = {"meta", "link", "img", "br"}


class Seen(HTMLParser):
    """The tags with their attributes, and those that are closed in a wrong order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.wrong = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            self.wrong.append(tag)

    def values(self, attribute):
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]


@pytest.fixture(scope="module")
def text():
    return page.page(Study("demo"), RESULTS)


@pytest.fixture(scope="module")
def seen(text):
    return Seen(text)


def section(text, name):
    return re.search(rf'<section id="{name}">.*?</section>', text, re.DOTALL).group()


def test_the_page_stands_alone_and_its_links_lead_somewhere(seen):
    assert not seen.wrong and not seen.open
    assert "script" not in {tag for tag, _ in seen.tags}
    pictures = [attributes for tag, attributes in seen.tags if tag == "img"]
    assert len(pictures) == len(Study("demo").figures)
    assert all(p["src"].startswith("data:image/") and p["alt"] for p in pictures)
    ids, links = set(seen.values("id")), seen.values("href")
    assert len([link for link in links if link.startswith("#")]) > 20
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids, link
        elif link != "data:,":
            assert (RESULTS / link).is_file(), link


def test_the_papers_figures_and_tables_stand_in_its_order(seen):
    study = Study("demo")
    names = [a["id"] for tag, a in seen.tags if tag == "section"]
    assert sorted(names) == sorted([*study.tables, *study.figures])
    numbers = [study.table_specs[n]["paper_table"] for n in names if n in study.tables]
    papers = [number for number in numbers if number]
    assert papers == sorted(papers) and numbers[: len(papers)] == papers
    order = {name: place for place, name in enumerate(names)}
    assert order["convergence"] == 0 and order["system_bars"] == 1
    assert (
        order["similarity"] < order["codebook"] < order["depth_similarity"] < order["temperature"]
    )


def test_the_counts_of_verdicts_are_those_of_the_claims(text):
    pages = [Results(RESULTS).csv(f"tables/{page}.csv") for page in Study("demo").claims_specs]
    verdicts = pandas.concat(page.drop_duplicates("claim")["verdict"] for page in pages)
    counts = verdicts.str.replace(r" \(.*", "", regex=True).value_counts()
    for verdict, count in counts.items():
        shown = re.findall(rf"<li class=\"\w+\"><b>(\d+)</b>{verdict}</li>", text)
        assert sum(map(int, shown)) == count, verdict


def test_a_cell_has_our_number_and_the_papers_small_below_it(text):
    cells = Results(RESULTS).csv("tables/system.csv").set_index(["row", "sampler", "metric"])
    shown = section(text, "system")
    assert "‖" not in shown and "(quoted)" not in shown
    for row in ("GEAR-XL (800)", "LlamaGen-REPA-XL (800)"):
        line = re.search(rf'<th scope="row" class="left">{re.escape(row)}</th>.*?</tr>', shown)
        ours, paper = cells.loc[(row, "plain", "gfid"), ["ours", "paper"]]
        cell = re.search(rf">(?:<b>)?{float(ours):.2f}(?:</b>)?<small>(.*?) </small>", line.group())
        assert re.sub("</?b>", "", cell.group(1)) == f"{float(paper):.2f}"
    assert "DiT (1400)" in shown and "DiT (1400)" not in opened(shown)


def test_a_run_has_its_steps_seeds_commit_and_record(text):
    shown = section(text, "control")
    line = next(
        found for found in re.findall(r"<tr>.*?</tr>", shown) if "gear-l-frozen/1500k" in found
    )
    record = Results(RESULTS).json("ar/gear-l-frozen/1500k/run.json")
    assert "21, 22, 23" in line and record["commit"][:7] in line and "1500k = " in line
    assert record["commit"] not in text


def opened(text):
    """The text that is shown before a click."""
    return re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)


def test_single_trainings_stand_beside_the_spread_that_the_claims_use(text):
    spec = Study("demo").claims_spec
    share = Judge(Results(RESULTS), spec).spread("gfid")
    said = f"Other seeds move a difference in gFD by about {share:.0%} of gFD (sd, table control)"
    assert said in opened(section(text, "components")) and "3 times as much" in text
    assert said not in section(text, "control")


def test_the_page_names_the_marks_that_it_has(text):
    assert "In brackets" not in text and "Bold:" not in text and "{" not in opened(text[9000:])
    assert "Coloured: the better of a row and its baseline." in text
    assert "Shown where the pointer rests on a number: difference" in section(text, "quantizer")
    assert text.count('<div class="wide"><img class="chart"') == text.count('<img class="chart"')


def test_a_study_without_the_papers_values_and_seeds_says_nothing_of_them(tmp_path):
    root, study = tmp_path / "folder", Study("folder")
    for name in ("components", "quantizer"):
        fake(root, study.table_specs[name])
        make_table(root, study.table_specs[name])
    fake(root, study.figure_specs["samples"])
    make_figure(root, study.figure_specs["samples"])
    text = page.page(study, root)
    assert "paper prints" not in text and "Digits" not in text
    assert "Images of each class should be recognisable" in text
    assert "Each row is one training; small differences decide nothing." in opened(text)


def test_what_is_not_made_is_listed(tmp_path, capsys):
    root, study = tmp_path / "demo", Study("demo")
    with pytest.raises(SystemExit, match="has no tables or figures of study 'demo'"):
        main(["page", str(root)])
    for spec, make in (
        (study.table_specs["overview"], make_table),
        (study.figure_specs["samples"], make_figure),
    ):
        fake(root, spec)
        make(root, spec)
    main(["page", str(root)])
    assert str(root / "index.html") in capsys.readouterr().out.splitlines()[-1]
    text = (root / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="(\w+)"', text) == ["samples", "overview"]
    missing = re.search("Not made yet: (.*?)\\.", text).group(1).split(", ")
    assert set(missing) == {*study.tables, *study.figures} - {"samples", "overview"}
    assert 'class="pixels"' in text and "image/png" in text
    shutil.copytree(root, tmp_path / "dmo")
    with pytest.raises(SystemExit, match="no study 'dmo'. Did you mean 'demo'?"):
        main(["page", str(tmp_path / "dmo")])
