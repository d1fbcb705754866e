"""The page of claims: verdicts on rows whose right answer is known, and what may not be decided."""

import json
import shutil

import pytest
from fakes import edit, fake, lines

from gear.report import compare
from gear.report.make import main, make
from gear.study.registry import CONFIG, Study
from gear.study.specs.claims import PAIRS, claims_spec

PLAIN = "metrics/ar/{}/1500k/plain.json"
SEEDS = ("", "-s22", "-s23")


@pytest.fixture(scope="module")
def demo():
    return Study("demo")


@pytest.fixture
def page(tmp_path, demo):
    """page(): the page of the faked demo as {claim: [its CSV lines]}; page.root is its folder."""
    spec = claims_spec(demo)
    fake(tmp_path, spec)

    def judged():
        output = tmp_path / "tables/claims"
        main(
            ["claims", "--root", str(tmp_path), "--spec", json.dumps(spec), "--output", str(output)]
        )
        found = {}
        for line in lines(f"{output}.csv"):
            found.setdefault(line["claim"], []).append(line)
        return found

    judged.root = tmp_path
    return judged


def seeds(root, run, metric, values):
    for suffix, value in zip(SEEDS, values, strict=True):
        edit(root, PLAIN.format(run + suffix), "demo", **{metric: value})


LOWER = "GEAR-L has a lower gFID than LlamaGen-REPA-L, on fresh ARs"
HIGHER = "GEAR-L has a higher inception score than LlamaGen-REPA-L, on fresh ARs"
NO_WORSE = "GEAR's tokenizer reconstructs no worse"
GAN = "Without the GAN loss gFID is worse"
STE = "Naive end-to-end training by STE collapses the codebook"
SOONER = "GEAR reaches the gFID at which its baseline ends in fewer steps"


def test_a_claim_must_hold_on_every_seed_paired(page):
    seeds(page.root, "llamagen-repa-l", "gfid", (10, 12, 14))
    seeds(page.root, "gear-l-frozen", "gfid", (9, 11, 13))  # seed by seed lower, spread larger
    (line,) = page()[LOWER]
    assert line["verdict"] == "reproduced (n = 3)"
    assert (line["difference"], line["difference_sd"], line["holding"]) == ("-1", "0", "3")
    seeds(page.root, "gear-l-frozen", "gfid", (3, 5, 14.1))  # lower in the mean, not on each
    (line,) = page()[LOWER]
    assert (line["verdict"], line["holding"]) == ("not reproduced (n = 3)", "2")
    seeds(page.root, "llamagen-repa-l", "is", (5, 5, 5))
    seeds(page.root, "gear-l-frozen", "is", (6, 6, 5))  # equal is not higher
    assert page()[HIGHER][0]["verdict"] == "not reproduced (n = 3)"


def test_equal_values_are_no_worse(page):
    values = "metrics/{}/400k/validation.json"
    for suffix in SEEDS:
        for run in ("tokenizer/vq", "joint/gear-l"):
            edit(page.root, values.format(run + suffix), "demo", rfid=7)
    (line,) = page()[NO_WORSE]
    assert (line["verdict"], line["holding"]) == ("reproduced (n = 3)", "3")
    edit(page.root, values.format("joint/gear-l" + SEEDS[1]), "demo", rfid=7.1)
    assert page()[NO_WORSE][0]["verdict"] == "not reproduced (n = 3)"


def test_one_training_decides_beyond_the_measured_spread_alone(page):
    root = page.root
    for run in ("llamagen-repa-l", "gear-l-control-frozen", "gear-l-strong-frozen"):
        seeds(root, run, "gfid", (10, 10, 10))
    seeds(root, "gear-l-frozen", "gfid", (9, 10, 11))  # paired differences: sd 1 on 10, so 10 %
    gear, gan = (f"metrics/joint/{r}/400k/plain.json" for r in ("gear-l", "gear-l-no-gan"))
    edit(root, gear, "demo", gfid=20)
    for value, verdict in ((25.9, "not decidable here (n = 1)"), (26.1, "reproduced (n = 1)"),
                           (13.9, "not reproduced (n = 1)")):  # fmt: skip
        edit(root, gan, "demo", gfid=value)
        (line,) = page()[GAN]
        assert (line["verdict"], line["margin"]) == (verdict, "6")
    edit(root, gan, "demo", gfid=None)
    assert page()[GAN][0]["verdict"] == "not decidable here (a run diverged)"


def test_without_a_measured_spread_one_training_decides_no_difference(tmp_path):
    paper = Study("paper")
    spec = claims_spec(paper)
    fake(tmp_path, spec)
    output = tmp_path / "tables/claims"
    make("claims", tmp_path, spec, output)
    for line in lines(f"{output}.csv"):
        if line["criterion"] in PAIRS:
            assert line["holds"] == "" and line["verdict"] == "not decidable here (n = 1)"
    text = (tmp_path / "tables/claims.md").read_text()
    assert "| GEAR gains at every size | Table 9 |" in text and "−3.47, −4.09, −1.94" in text


def test_limits_hold_or_do_not(page):
    gear, ste = (f"metrics/joint/{r}/400k/validation.json" for r in ("gear-l", "gear-l-ste"))
    for values, verdict in (((0.9, 0.1), "reproduced (n = 1)"),
                            ((0.9, 0.3), "not reproduced (n = 1)"),
                            ((0.1, 0.1), "not reproduced (n = 1)")):  # fmt: skip
        for path, usage in zip((gear, ste), values, strict=True):
            edit(page.root, path, "codebook", usage=usage)
        assert page()[STE][0]["verdict"] == verdict


def test_a_speed_up_stands_only_with_its_margin(page):
    root = page.root
    for run in ("llamagen-repa-l", "gear-l-control-frozen", "gear-l-strong-frozen"):
        seeds(root, run, "gfid", (10, 10, 10))
    seeds(root, "gear-l-frozen", "gfid", (9, 10, 11))  # a margin of 30 %

    def curve(name, *values):
        for step, value in zip(("100k", "400k", "1500k", "4000k"), values, strict=True):
            edit(root, f"metrics/ar/{name}/{step}/plain.json", "demo", gfid=value)

    for size in ("b", "xl"):
        curve(f"llamagen-repa-{size}", 40, 30, 20, 10)
        curve(f"gear-{size}-frozen", 20, 6, 5, 4)  # there before 400k, and at 7 too
    edit(root, "metrics/ar/llamagen-repa-l/4000k/plain.json", "demo", gfid=8)
    edit(root, "metrics/ar/gear-l-frozen/4000k/plain.json", "demo", gfid=7.9)
    by_curve = {line["row"]: line for line in page()[SOONER]}
    assert by_curve["GEAR-B"]["holds"] == "yes" and float(by_curve["GEAR-B"]["difference"]) > 2
    assert by_curve["GEAR-L"]["holds"] == ""
    curve("gear-xl-frozen", 40, 30, 25, 20)  # not there, nor at 13
    line = {x["row"]: x for x in page()[SOONER]}["GEAR-XL"]
    assert (line["holds"], line["difference"]) == ("no", "")
    assert line["verdict"] == "not reproduced (n = 1)"


def test_the_page_says_what_it_judges_by_and_is_equal_bytes_twice(page, demo):
    page()
    folder = page.root / "tables"
    first = {p.name: p.read_bytes() for p in folder.glob("claims.*")}
    assert set(first) == {f"claims.{kind}" for kind in ("csv", "md", "tex", "html")}
    page()
    assert first == {p.name: p.read_bytes() for p in folder.glob("claims.*")}
    text = first["claims.md"].decode()
    own = [c for c in demo.claims["claims"] if "page" not in c]
    published = [c for c in own if not c.get("ours")]
    assert len(published) == 27  # the page of the class-conditional models
    assert f"Of the paper's {len(published)} claims" in text
    assert all(f"| {claim['claim']} |" in text for claim in published)
    assert "3 times the largest sd" in text and "stand-in classifier features" in text


def test_claims_on_tables_that_a_study_does_not_make_are_counted():
    spec = claims_spec(Study("smoke"))
    asked = {claim.get("table") for claim in spec["claims"]}
    assert asked == {"overview", "system", "components", "quantizer", "similarity", "control"}
    own = [claim for claim in Study("smoke").claims["claims"] if "page" not in claim]
    assert spec["left_out"] == len(own) - len(spec["claims"]) > 0
    assert len(json.dumps(claims_spec(Study("demo")), ensure_ascii=False).encode()) < 100_000


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("table: components", "table: component", "Did you mean 'components'"),
        ("[[w/ STE, GEAR]]", "[[w/ SET, GEAR]]", "no trained row 'w/ SET'. Did you mean 'w/ STE'"),
        ("{metric: ntp,", "{metric: npt,", "there is no metric 'npt'. Did you mean 'ntp'"),
        ("[GEAR-B, GEAR-L, GEAR-XL]", "[GEAR-M]", "no curve 'GEAR-M' has a baseline"),
        ("figure: convergence", "figure: codebook", "no curve of figure 'codebook' has a baseline"),
        ("        sampler: cfg\n", "", "several gfid; add its `sampler:`"),
        ("    table: size\n", "", "name either a table or a figure"),
        ("VQ, LFQ and IBQ all gain", "GEAR gains at every size", "is there twice"),
        ("tests: [{metric: is, higher:", "tests: [{metric: is, hihger:", "Did you mean 'higher'"),
    ],
)
def test_a_claim_that_leads_nowhere_is_named(tmp_path, old, new, message):
    folder = shutil.copytree(CONFIG, tmp_path / "config")
    text = (folder / "claims.yaml").read_text()
    assert old in text
    (folder / "claims.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        claims_spec(Study("demo", folder=folder))


def test_compare_says_which_verdicts_changed(page, capsys):
    page()
    other = page.root / "other/tables"
    shutil.copytree(page.root / "tables", other)
    path = other / "claims.csv"
    path.write_text(path.read_text().replace(f"{GAN},not decidable here", f"{GAN},reproduced"))
    compare.compare(page.root, other.parent)
    said = capsys.readouterr().out
    assert f"claims: {GAN}, verdict: not decidable here (n = 1), not reproduced" in said
    assert "1 different, 0 missing" in said
