"""A changed default raises the number beside the defaults, so that stale results are planned anew.

The defaults stand again in defaults.json with their number. A changed default with the old number
fails here; with a new number the table is to be written anew (the message says how).
"""

import dataclasses
import json
from pathlib import Path

import pytest

from gear import config
from gear.runtime import state
from gear.study import jobs

TABLE = Path(__file__).with_name("defaults.json")
WRITE = "python tests/unit/test_defaults.py"


def defaults():
    return json.loads(json.dumps(config.flatten(dataclasses.asdict(config.Settings()))))


def test_a_changed_default_has_a_new_number():
    table = json.loads(TABLE.read_text())
    assert table["number"] == config.DEFAULTS, f"the number is new: write the table anew ({WRITE})"
    now = defaults()
    changed = [name for name, value in table["settings"].items() if now.get(name) != value]
    assert not changed, (
        f"the defaults of {', '.join(changed)} have changed: raise config.DEFAULTS, then {WRITE}"
    )
    new = sorted(now.keys() - table["settings"].keys())
    assert not new, f"{', '.join(new)} are new: keep the number, then {WRITE}"


def test_the_number_reaches_every_job_with_settings(smoke, monkeypatch):
    def lines():
        yield jobs.training(smoke, "vq", "400k")
        yield jobs.teacher(smoke, "dinov2")
        yield jobs.features(smoke)
        yield jobs.drawing(smoke, "gear-l", "plain")
        yield jobs.scoring(smoke, "gear-l")
        yield jobs.picking(smoke, "gear-l")
        yield jobs.evaluation(smoke, "gear-l", ("plain",))
        yield jobs.analysis(smoke, "gear-l")

    before = [repr(line) for line in lines()]
    monkeypatch.setattr(config, "DEFAULTS", config.DEFAULTS + 1)
    after = [repr(line) for line in lines()]
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_a_state_of_other_defaults_is_refused(smoke_settings, monkeypatch):
    before = state.identity(smoke_settings())
    monkeypatch.setattr(config, "DEFAULTS", config.DEFAULTS + 1)
    with pytest.raises(ValueError, match="with number 1 of the defaults in gear/config.py, now it"):
        state.require_same(before, state.identity(smoke_settings()), "latest.pt", "delete it")


def test_a_state_goes_on_only_with_the_form_that_it_began_with(smoke_settings):
    before = state.identity(smoke_settings())
    assert before == state.identity(smoke_settings(**{"runtime.kernels": "reference"}))
    fused = state.identity(smoke_settings(**{"runtime.kernels": "fused"}))
    said = "with runtime.kernels 'reference', this run has 'fused'; delete it"
    with pytest.raises(ValueError, match=said):
        state.require_same(before, fused, "latest.pt", "delete it")


if __name__ == "__main__":
    TABLE.write_text(
        json.dumps({"number": config.DEFAULTS, "settings": defaults()}, indent=1) + "\n"
    )
