"""One optimizer step of the paper's text-to-image AR, with blocks that are recomputed.

In a process of its own, as the other steps at this size (test_paper_steps.py).
"""

import json
import math
import subprocess
import sys

import paper_text_step
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("paper")]  # one at a time: memory


def test_one_step_of_the_text_to_image_ar_of_the_paper(capsys):
    command = [sys.executable, paper_text_step.__file__]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode != -9, "it was killed: was there too little memory?"
    assert done.returncode == 0
    found = json.loads(done.stdout)
    with capsys.disabled():
        print(f"\n1b: {found['seconds']} s, peak {found['peak_gib']} GiB", flush=True)
    assert found["parameters"] == {"ar": 1_047_659_040, "projector": 8_721_152}
    assert found["peak_gib"] < 22
    metrics = found["metrics"]
    assert metrics["ntp"] == pytest.approx(math.log(16384), abs=1e-3)  # the head is zero
    assert -1 <= metrics["align"] <= 1 and 0 < metrics["grad_ar"] < math.inf
    # the head starts at zero, so that only the alignment's gradient goes further down
    still = set(found["unchanged"])
    above = {f"blocks.{n}." for n in range(paper_text_step.LAYER, 36)}
    assert all(name == "norm.weight" or name.startswith(tuple(above)) for name in still), still
    assert len(still) == 6 * 24 + 1
