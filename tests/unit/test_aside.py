"""JSON without NaN, and hashes that are read once."""

import math
import os

import pytest

from gear.files import hashes
from gear.files.aside import line, write_json
from gear.files.mistakes import Mistake


def test_json_with_a_number_that_is_not_finite_is_not_written(tmp_path):
    file = tmp_path / "scores.json"
    with pytest.raises(Mistake, match=r"scores.json is not written, because adm.1.gfid is not a f"):
        write_json(file, {"adm": [{"gfid": 1.0}, {"gfid": math.nan}]})
    assert list(tmp_path.iterdir()) == []


def test_a_line_says_null():
    assert (
        line({"a": (1, math.inf), "b": [{"c": math.nan}]}) == '{"a": [1, null], "b": [{"c": null}]}'
    )


def test_a_file_is_hashed_once_until_it_is_written(tmp_path, monkeypatch):
    file, read = tmp_path / "x", []
    file.write_bytes(b"1")
    monkeypatch.setattr(hashes, "sha256", lambda path: read.append(path) or len(read))
    assert [hashes.sha256_once(file) for _ in range(3)] == [1, 1, 1]
    file.write_bytes(b"2")
    os.utime(file, ns=(0, 5))
    assert hashes.sha256_once(file) == 2
