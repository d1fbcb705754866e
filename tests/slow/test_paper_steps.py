"""One real optimizer step of the paper's runs at their size, by the trainers' own `step`.

Each in a process of its own, one at a time; the largest (joint, XL) takes 18 GiB of memory. See
paper_step.py for what is random in it.
"""

import json
import math
import subprocess
import sys

import paper_step
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("paper")]  # one at a time: memory

VQ, LFQ, IBQ = 71_883_403, 115_094_033, 110_982_019
B, L, XL = (110_888_448, 7_344_896), (342_910_976, 7_869_184), (774_699_520, 8_393_472)
LAYER = {B: 4, L: 8, XL: 12}
CASES = {
    "vq": (VQ, None),
    "lfq": (LFQ, None),
    "ibq": (IBQ, None),
    "gear-b": (VQ, B),
    "gear-l": (VQ, L),
    "gear-xl": (VQ, XL),
    "gear-l-lfq": (LFQ, L),
    "gear-l-ibq": (IBQ, L),
    "llamagen-repa-xl": (None, XL),
}
LOSSES = {"l1", "lpips", "gan", "disc", "codebook", "commitment", "entropy_loss", "grad_tokenizer"}


def step(run, vgg16):
    done = subprocess.run(
        [sys.executable, paper_step.__file__, run, vgg16],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode != -9, f"{run} was killed: was there too little memory?"
    assert done.returncode == 0
    return json.loads(done.stdout)


def idle(module, name, layer):
    """Whether a first step has no gradient for a parameter, or only rounding's.

    The AR's head starts at zero, so that only the alignment's gradient goes further down. A
    constant added to all keys of an attention changes nothing."""
    if module == "ar":
        block = int(name.split(".")[1]) + 1 if name.startswith("blocks.") else 0
        return block > layer or name == "norm.weight"
    return module == "tokenizer" and name.endswith(".k.bias")


@pytest.mark.parametrize("run", CASES)
def test_one_step_at_the_size_of_the_paper(run, vgg16, capsys):
    tokenizer, ar = CASES[run]
    found = step(run, vgg16)
    with capsys.disabled():
        print(f"\n{run}: {found['seconds']} s, peak {found['peak_gib']} GiB", flush=True)

    counts = {"tokenizer": tokenizer, "discriminator": 2_765_633} if tokenizer else {}
    counts |= {"ar": ar[0], "projector": ar[1]} if ar else {}
    assert found["parameters"] == counts

    metrics = found["metrics"]
    assert all(math.isfinite(v) for v in metrics.values()), metrics
    expected = LOSSES if tokenizer else set()
    expected = expected | ({"ntp", "align_ar", "grad_ar"} if ar else set())
    expected = expected | ({"align_tokenizer"} if tokenizer and ar else set())
    assert expected <= set(metrics)
    assert all(metrics[k] > 0 for k in expected & {"l1", "lpips", "grad_tokenizer", "grad_ar"})
    if ar:
        assert found["layer"] == LAYER[ar]
        assert metrics["ntp"] == pytest.approx(math.log(16384), abs=1e-3)  # the head is zero
        assert -1 <= metrics["align_ar"] <= 1

    still = found["unchanged"]
    assert [(m, n) for m, n in still if not idle(m, n, found["layer"])] == []
    above = [n for m, n in still if m == "ar"]  # six parameters per block above, and the last norm
    assert len(above) == (6 * (found["layers"] - found["layer"]) + 1 if ar else 0)
