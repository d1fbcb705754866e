"""What Snakemake's log says of failed jobs is followed to the last line of each job's own log."""

from gear.launch import failures

LOG = """RuleException:
CalledProcessError in file "workflow/rules/ar.smk", line 29:
Command 'set -euo pipefail;  python -m gear.ar.train --job '{"a":1}' 2>&1 | tee results/a.txt' died with <Signals.SIGTERM: 15>.
Command 'set -euo pipefail;  python -m gear.x 2>&1 | tee 'x y/b.txt'' returned non-zero exit status 1.
    log: results/c.txt (check log file(s) for error details)
    log: results/a.txt (check log file(s) for error details)
Finished jobid: 3 (Rule: train_ar)
"""  # noqa: E501


def test_each_failed_job_has_its_last_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for path, text in (
        ("results/a.txt", "10/20\rgear-l@100k  stopped at step 12; the state is saved\n\n"),
        ("x y/b.txt", "Traceback\nValueError: 3\n"),
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "snakemake.log").write_text(LOG)
    failures.report(["snakemake.log"])
    assert capsys.readouterr().err.splitlines() == [
        "gear: results/a.txt ends with: gear-l@100k  stopped at step 12; the state is saved",
        "gear: x y/b.txt ends with: ValueError: 3",
        "gear: results/c.txt ends with: nothing",
        "gear: what is finished stays; the same command goes on from here.",
    ]
