"""Saved results and code that has changed since: what is planned, and what --accept-code says.

The small study of mini.smk has one rule whose param is the hash of the scores' code."""

import json

R = "results/mini"
NOTHING = "Nothing to be done"


def append(clone, file, text):
    path = clone.folder / file
    path.write_text(path.read_text() + text)


def test_a_comment_plans_nothing_and_changed_code_plans_the_scores(clone):
    clone.artifacts("pull", "data", R)
    append(clone, "gear/metrics/frechet.py", "\n# a comment\n")
    assert NOTHING in clone.mini("table", "-n")
    append(clone, "gear/metrics/frechet.py", "\nROWS = 4096\n")
    text = clone.mini("table", "-n")
    assert "rule evaluate:" in text and "rule train:" not in text


def test_accepted_code_plans_nothing_and_is_named(clone):
    clone.artifacts("pull", "data", R)
    append(clone, "gear/metrics/frechet.py", "\nROWS = 4096\n")
    assert "accepted" not in clone.artifacts("restore", R)
    assert "rule evaluate:" in clone.mini("table", "-n")
    printed = clone.artifacts("restore", R, "--accept-code")
    assert "accepted although the code of their rules has changed: 1" in printed
    assert "evaluate: 2 files, code of scores" in printed
    assert NOTHING in clone.mini("table", "-n")
    record = json.loads((clone.folder / R / "joint/a.prov.json").read_text())
    (entry,) = [e for job in record["jobs"] for e in job.get("accepted", ())]
    assert entry["code"] == "scores" and entry["made_with"] != entry["accepted"]
    assert f"made with {entry['made_with']}, accepted for {entry['accepted']}" in clone.artifacts(
        "check", R
    )


def test_an_accepted_record_stays_when_results_are_saved_again(clone):
    clone.artifacts("pull", "data", R)
    append(clone, "gear/metrics/frechet.py", "\nROWS = 4096\n")
    clone.artifacts("restore", R, "--accept-code")
    clone.git("commit", "--quiet", "--all", "--message", "accepted")
    clone.mini("table", "--config", "setting=2")
    clone.artifacts("save", R)
    clone.git("commit", "--quiet", "--all", "--message", "made anew")
    # the scores were made anew with today's code, so there is nothing left that was accepted
    assert "accepted although" not in clone.artifacts("check", R)


def test_what_was_accepted_outlives_a_second_save(clone):
    clone.artifacts("pull", "data", R)
    append(clone, "gear/metrics/frechet.py", "\nROWS = 4096\n")
    clone.artifacts("restore", R, "--accept-code")
    clone.git("commit", "--quiet", "--all", "--message", "accepted")
    clone.artifacts("save", R)
    assert "accepted although" in clone.artifacts("check", R)
