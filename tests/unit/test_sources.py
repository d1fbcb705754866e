"""config/sources.csv: every external file that code or studies name has a line."""

import re
from pathlib import Path

import pytest

from gear.alignment.teachers.load import NETWORKS
from gear.evaluation import anyone, networks
from gear.study import sources
from gear.study.configfiles import CONFIG
from gear.weights import LAYOUTS


def test_every_file_of_a_study_and_of_a_protocol_has_a_line(paper):
    files = {source.file for source in sources.sources().values()}
    spec = paper.spec
    named = {entry["file"] for entry in spec["public"].values()}
    named |= {entry["weights"] for entry in spec["teachers"].values()}
    named |= {spec["features"]["weights"], spec["features"]["reference"], paper.data.path}
    named |= {*networks.FILES.values(), anyone.CLIP_FILE}
    assert named <= files


def test_every_layout_and_teacher_has_a_line():
    assert {*LAYOUTS, *NETWORKS} <= set(sources.sources())


def test_a_line_agrees_with_the_study(paper):
    for spec in paper.spec["teachers"].values():
        line = sources.source(spec["network"])
        assert line.file == spec["weights"]
        assert not spec.get("bytes") or int(line.bytes) == spec["bytes"]
        assert not spec.get("sha256") or line.hash == spec["sha256"]
        repo = spec.get("hub", {}).get("repo", "")
        assert repo in line.link + line.second_home


def test_columns_are_known_or_unknown():
    for line in sources.sources().values():
        assert line.project and line.used_for and line.link and line.licence, line.name
        assert re.fullmatch(r"[0-9a-f]{8,64}|unknown|", line.sha256), line.name
        assert re.fullmatch(r"[0-9]+|unknown|", line.bytes), line.name
        assert re.match(r"https?://|unknown|none", line.link), line.name


def test_a_damaged_file_is_one_sentence(tmp_path):
    text = (CONFIG / "sources.csv").read_text()
    head, first, *_ = text.splitlines()
    (tmp_path / "sources.csv").write_text(f"{head}\n{first}\n{first}\n")
    with pytest.raises(ValueError, match="the name 'imagenet' is there twice"):
        sources.sources(Path(tmp_path))
    (tmp_path / "b").mkdir()
    (tmp_path / "b/sources.csv").write_text("name,file\nx,y\n")
    with pytest.raises(ValueError, match="sources.csv has no column 'used_for'; correct it"):
        sources.sources(tmp_path / "b")
    with pytest.raises(ValueError, match="no 'dinov4'. Did you mean 'dinov3'"):
        sources.source("dinov4")
