"""The page of a study's results: what it says is compared with the tables that it is made from."""

import json
import re
from collections import Counter
from pathlib import Path

from fakes import fake, make_table

from gear.report import index
from gear.report.files import Results
from gear.study import jobs
from gear.study.registry import Study
from gear.study.specs.index import index_spec
from gear.study.specs.tables import table_spec

RESULTS = Path(__file__).resolve().parents[2] / "results/demo"


def as_job(spec):
    return json.loads(jobs.line(spec))


def test_a_headline_is_the_first_column_of_the_trained_rows(tmp_path):
    study = Study("demo")
    for name in ("control", "guidance", "system"):
        spec = as_job(table_spec(study, name))
        fake(tmp_path, spec)
        make_table(tmp_path, spec)
        entry = next(e for e in as_job(index_spec(study))["tables"] if e["name"] == name)
        cells = Results(tmp_path).csv(f"tables/{name}.csv")
        line = index.headline(Results(tmp_path), entry)
        assert line.startswith("gFD ↓: ")
        shown = dict(re.findall(r"(?:: |; )(.+?) (-?[\d.]+)(?= ±|;|$)", line.replace("\\", "")))
        own = cells[(cells["metric"] == "gfid") & (cells["source"] == "trained")]
        for row, value in shown.items():
            found = own.loc[own["row"] == row, "ours"]
            assert float(value) == round(float(found.iloc[0]), 2), row
        trained = [row["row"] for row in spec["rows"] if "run" in row]
        assert list(shown) == trained[: index.ROWS]
        assert line.endswith(f"and {len(trained) - index.ROWS} more") == (len(trained) > index.ROWS)


def test_the_page_names_everything_that_the_demo_makes():
    """From the committed results: every claim once under its verdict, every table and figure."""
    spec = as_job(index_spec(Study("demo")))
    (text,) = index.forms(Results(RESULTS), spec).values()
    pages = [Results(RESULTS).csv(f"tables/{page}.csv") for page in Study("demo").claims_specs]
    lines = [verdict for page in pages for verdict in page.drop_duplicates("claim")["verdict"]]
    counts = Counter(verdict.partition(" (")[0] for verdict in lines)
    assert sum(map(int, re.findall(r"(\d+) reproduced", text))) == counts["reproduced"]
    assert sum(map(int, re.findall(r"(\d+) not decidable", text))) == counts["not decidable here"]
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (RESULTS / link).is_file(), link
    for noun, ending in (("tables", "md"), ("figures", "svg")):
        for entry in spec[noun]:
            assert f"({noun}/{entry['name']}.{ending})" in text
