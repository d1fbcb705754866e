"""`gear run` prints the command that Snakemake needs, and does what that command does."""

import shutil

import pytest

from gear.cli.run import CLUSTER, LOCAL, _execute, _page, command


@pytest.mark.parametrize("cluster, profile", [(False, LOCAL), (True, CLUSTER)])
def test_config_stands_last(cluster, profile):
    words = command(["a", "b"], "demo", "here", cluster)
    assert words == ["snakemake", "a", "b", *profile, "--config", "study=demo", "results=here"]


@pytest.mark.parametrize("signal, status", [("INT", 3), ("TERM", 5)])
def test_snakemake_ends_by_a_signal_in_its_own_way(signal, status):
    """It has Ctrl-C from the terminal; what this process alone is sent is passed on."""
    waits = "for i in 1 2 3 4 5; do sleep 0.1; done"
    script = f"trap 'exit 5' TERM; sleep 0.5; kill -{signal} $PPID; {waits}; exit 3"
    assert _execute(["sh", "-c", script]) == status


def test_a_run_without_tables_says_why_there_is_no_page(tmp_path):
    assert _page(tmp_path / "demo").startswith("no page of results: ")


def test_a_finished_study_has_nothing_to_do(checkout):
    status, text = checkout.run("gear", "run", "-n", "--study", "smoke")
    assert status == 0 and text.splitlines()[1:] == ["nothing to be done"]
    status, text = checkout.run("sh", "-c", "gear run quick --study smoke 2>&1")
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
