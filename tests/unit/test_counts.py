"""The committed counts are those of today's code, and `gear plan` loads no torch."""

import json
import subprocess
import sys

import pytest

from gear.plan import costs, counts
from gear.plan.targets import wanted
from gear.study.configfiles import studies
from gear.study.registry import Study

CURE = "run python -m gear.plan.counts and commit gear/plan/counts.json"


def test_the_counts_are_of_todays_code_and_studies():
    content = json.loads(counts.FILE.read_text())
    assert content["code"] == counts.code_hash(counts.CODE), CURE
    asked = set()

    def look(kind, *arguments):
        asked.add(counts.key(kind, *arguments))
        return counts.piece(kind, *arguments)

    for name in studies():
        study = Study(name)
        for run in wanted(study).runs:
            costs.networks_of(study.runs[run], study, look)
    assert asked == set(content["pieces"]), CURE


def test_the_counts_of_the_smoke_study_are_counted_again(smoke):
    seen = []

    def count(kind, *arguments):
        piece = counts.counted(kind, *arguments)
        seen.append(piece == counts.piece(kind, *arguments))
        return piece

    costs.networks_of(smoke.runs["gear-l"], smoke, count)
    assert len(seen) == 5 and all(seen), CURE


@pytest.mark.slow
def test_all_counts_are_counted_again():
    assert counts.gather() == json.loads(counts.FILE.read_text()), CURE


def test_counts_of_other_code_are_not_used(monkeypatch, tmp_path):
    stale = json.loads(counts.FILE.read_text()) | {"code": "0" * 12}
    monkeypatch.setattr(counts, "FILE", tmp_path / "counts.json")
    counts.FILE.write_text(json.dumps(stale))
    counts.known.cache_clear()
    try:
        assert counts.known() == {}
    finally:
        counts.known.cache_clear()


def test_a_plan_of_the_paper_loads_no_torch():
    lines = "from gear.cli.main import main; main(['plan', '--study', 'paper', '--tflops', '400'])"
    code = f"import sys; {lines}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "GPU-hours" in done.stdout
