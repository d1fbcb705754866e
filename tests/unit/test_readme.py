"""The documents against the project: what was found, each command's target, options and paths.

Blocks fenced `console` are parsed here and not executed: they need hours, a cluster or a remote.
tests/smoke/test_readme_blocks.py executes the blocks fenced `sh` and `python`.
"""

import itertools
import re
import shlex
from pathlib import Path

import pytest
from documents import blocks

from gear.cli.main import make_parser
from gear.plan.report import gather
from gear.report import index
from gear.report.files import Results
from gear.study.registry import Study
from gear.study.specs.index import index_spec
from gear.study.stages import STAGES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md")]
DOCUMENTS += sorted(ROOT.glob("docs/*.md"))
FOUND = re.compile(r"(?<=claims\.csv -->\n).*(?=<!-- end -->)", re.DOTALL)
WRITE = "PYTHONPATH=tests/helpers python tests/unit/test_readme.py"
PLACES = ("results/", "config/", "gear/", "docs/", "workflow/", "tests/", "benchmarks/")


def found():
    """The paper's claims by verdict, as the page of the committed results has them."""
    pages = index_spec(Study("demo"))["claims"]
    claims = index.claims(Results(ROOT / "results/demo"), pages["claims"])
    return "\n\n".join([next(claims), next(claims)]) + "\n"


def commands():
    """(document, words) of every command of the console and sh blocks."""
    for document in DOCUMENTS:
        for _, block in blocks(document.read_text(encoding="utf-8"), ("console", "sh")):
            for line in block.splitlines():
                words = shlex.split(line.replace(";", " ; "), comments=True)
                for separate, part in itertools.groupby(words, ("&&", ";").__contains__):
                    if not separate:
                        yield document.name, tuple(part)


COMMANDS = sorted(set(commands()))


def test_the_readme_says_what_was_found():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert FOUND.search(text).group() == found(), f"write it anew: {WRITE}"
    assert len(text.splitlines()) <= 150


def test_the_costs_of_the_papers_study_are_those_of_the_plan():
    """In README, and for each table of docs/cluster.md."""
    study, rates = Study("paper"), dict.fromkeys(STAGES, 400.0)
    lines = []
    for target in (
        "guidance",
        "init",
        "similarity",
        "components",
        "temperature",
        "overview",
        "gpic",
        "all",
    ):
        plan = gather(study, target, {"label": "assumed", "unit": "GPU", "rates": rates})
        hours, chain = (plan["budget"][key]["hours"] for key in ("training", "queue"))
        numbers = len(plan["runs"]), hours, sum(plan["bytes"].values()) / 1e9, chain
        name = "`gpic` (text to image)" if target == "gpic" else f"`{target}`"
        lines.append(f"| {name} | " + " | ".join(f"{n:,.0f}" for n in numbers) + " |")
    assert "\n".join(lines) in (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    trainings, hours, disk, _ = (f"{n:,.0f}" for n in numbers)
    flops = f"{plan['total']['flops'] / 1e21:.1f} ZFLOPs"
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"{trainings} trainings, {flops}, {disk} GB. That is {hours} GPU-hours" in text


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_a_test_that_a_document_names_exists():
    """`test_x::test_y` of the tables is a function of a file of tests/."""
    files = {path.stem: path for path in (ROOT / "tests").rglob("test_*.py")}
    text = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    named = set(re.findall(r"\b(test_\w+)::(\w+)", text))
    assert len(named) > 50
    for module, test in sorted(named):
        assert f"def {test}(" in files[module].read_text(encoding="utf-8"), (module, test)


def check_targets(targets, study):
    for target in targets:
        assert target in Study(study).targets or (ROOT / target).exists(), target


def check_gear(words):
    try:
        options = make_parser().parse_args(words)
    except SystemExit as error:
        pytest.fail(f"gear {' '.join(words)}: {error}")
    if options.command == "run":
        check_targets(options.targets, options.study)
    if options.command in ("plan", "doctor"):
        check_targets([options.target], options.study)


def check_snakemake(words):
    study = next((w.removeprefix("study=") for w in words if w.startswith("study=")), "paper")
    ends = [i for i, word in enumerate(words) if word.startswith("-")]
    targets = [word for word in words[: min(ends, default=len(words))] if word != "..."]
    check_targets(targets, study)
    for profile in (words[i + 1] for i in ends if "profile" in words[i]):
        folder = ROOT / (profile if "/" in profile else f"workflow/profiles/{profile}")
        assert (folder / "config.yaml").is_file(), folder


def check_make(words):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in (word for word in words if "=" not in word):
        assert re.search(rf"^[\w -]*\b{target}\b[\w -]*:", makefile, re.MULTILINE), target


CHECKS = {"gear": check_gear, "snakemake": check_snakemake, "make": check_make}


@pytest.mark.parametrize("document, words", COMMANDS, ids=lambda x: " ".join(x)[:60])
def test_a_documented_command_exists(document, words):
    if words[0] in CHECKS:
        CHECKS[words[0]]([w for w in words[1:] if w not in ("&&", "...")])
    for word in words:
        if word.startswith(PLACES) and "*" not in word:
            assert (ROOT / word).exists() or "demo/" in word, f"{document}: {word}"
        if words[0] == "python" and word.endswith(".py"):
            assert (ROOT / word).is_file(), f"{document}: {word}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(FOUND.sub(lambda _: found(), readme.read_text("utf-8")), "utf-8")
