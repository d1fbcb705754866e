"""`gear run` prints the command that Snakemake needs, and does what that command does."""

import shutil

import pytest

from gear.cli.run import CLUSTER, LOCAL, command


@pytest.mark.parametrize("cluster, profile", [(False, LOCAL), (True, CLUSTER)])
def test_config_stands_last(cluster, profile):
    words = command(["a", "b"], "demo", "here", cluster)
    assert words == ["snakemake", "a", "b", *profile, "--config", "study=demo", "results=here"]


def test_a_finished_study_has_nothing_to_do(checkout):
    status, text = checkout.run("gear", "run", "-n", "--study", "smoke")
    assert status == 0 and text.splitlines()[1:] == ["nothing to be done"]
    status, text = checkout.run("gear", "run", "quick", "--study", "smoke")
    assert status == 0 and "Nothing to be done" in text
    page = checkout.folder / "results/smoke/index.html"
    assert str(page) in text.splitlines()[-1] and "What was found" in page.read_text("utf-8")


def test_the_jobs_of_a_dry_run_are_counted_by_rule(checkout):
    _, text = checkout.run(
        "gear", "run", "-n", "all_tables", "--study", "smoke", "--results", "none"
    )
    rules = {line.split()[1]: int(line.split()[0]) for line in text.splitlines()[1:]}
    planned = checkout.planned("all_tables", results="none")
    assert rules.pop("jobs") == sum(rules.values()) > 80
    assert {rule: rules[rule] for rule in planned} == {r: len(o) for r, o in planned.items()}


def test_mistakes_are_one_sentence(checkout):
    _, text = checkout.run("gear", "run", "-n", "componens", "--study", "smoke")
    assert text.splitlines()[1:] == [
        "gear: study 'smoke' has no target 'componens'. Did you mean 'components'?"
    ]
    _, text = checkout.run("sh", "-c", "cd gear && exec gear run --study smoke")
    assert text.startswith("gear: gear run works in the repository's top folder")


def test_rules_find_python_where_the_environment_is_not_activated(checkout):
    """`.venv/bin/snakemake` runs its jobs with its own Python."""
    program = shutil.which("snakemake", path=checkout.environment()["PATH"])
    status, text = checkout.run("env", "PATH=/usr/bin:/bin", program, "--cores", "1", "overview",
                             "--forcerun", "make_table", "--config", "study=smoke")  # fmt: skip
    assert status == 0 and "make_table" in text, text
