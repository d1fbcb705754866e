"""`gear doctor --metrics`: made images have the committed scores; other numbers are said."""

import json

import pytest

from gear.cli import doctor
from gear.evaluation import known, networks


def test_the_formulas_scores_are_the_committed_ones():
    (line, *_) = doctor.metrics()
    assert line.state == "ok" and line.said.startswith("demo on weights made by a formula: gfid ")
    assert line.said.endswith("as committed")


def test_another_number_is_said(monkeypatch, tmp_path):
    numbers = json.loads(known.FILE.read_text())
    numbers[f"demo {known.FORMULA}"]["gfid"] *= 1.01
    monkeypatch.setattr(known, "FILE", tmp_path / "known.json")
    known.FILE.write_text(json.dumps(numbers))
    (line, *_) = doctor.metrics()
    assert line.state == "missing" and "but committed is gfid" in line.said


@pytest.mark.slow
def test_weights_that_are_here_are_scored_or_refused(monkeypatch, inception_file):
    path, _ = inception_file
    monkeypatch.setitem(networks.FILES, "inception", path)
    monkeypatch.setitem(networks.FILES, "dinov2", "nowhere.pth")
    _, *refused = doctor.metrics()  # random weights have another hash than the published ones
    assert {line.state for line in refused} == {"missing"} and "begins with" in refused[0].said
    monkeypatch.setattr("gear.features.inception.PUBLISHED", "")
    _, adm, *_ = doctor.metrics()
    assert adm.state == "note" and adm.said.endswith("no number of these weights is known")
