"""torch.compile of the blocks, with recomputation: the numbers and the names of the eager ones."""

import pytest
import tiny
import torch
from torch import multiprocessing

from gear import config
from gear.study.registry import Study

pytestmark = pytest.mark.slow

STILL = {"ar.dropout": 0.0, "ar.token_dropout": 0.0, "runtime.log_every": 1} | {
    f"optim.lr_{part}": 1e-4 for part in ("tokenizer", "discriminator", "ar")
}


def metrics(**changes):
    """(metrics of three joint steps, names of all weights)."""
    settings = Study("smoke").runs["gear-l"].settings
    settings = config.build(config.difference(settings) | STILL | changes)
    trainer, images = tiny.trainer("joint", settings), tiny.RandomImages(settings)
    trainer.tune()
    rows = [trainer.step(images.batch(n), n) for n in range(3)]
    names = {name for m in trainer.modules.values() for name in m.state_dict()}
    return [{k: v.item() for k, v in row.items()} for row in rows], names


def process(rank, file):
    """In a process of its own: compiled code keeps threads, which no fork of a test can bear."""
    torch.set_num_threads(1)
    found = {
        "compiled": metrics(**{"runtime.compile": True, "runtime.recompute": True}),
        "graphs": torch._dynamo.utils.counters["stats"]["unique_graphs"],
        "eager": metrics(),
    }
    torch.save(found, file)


def test_compiled_blocks_have_the_numbers_of_eager_ones(tmp_path):
    multiprocessing.spawn(process, (str(tmp_path / "found"),))
    found = torch.load(tmp_path / "found")
    (compiled, names), (eager, plain) = found["compiled"], found["eager"]
    assert found["graphs"] > 1 and names == plain  # they were compiled
    for mine, theirs in zip(compiled, eager, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-6)
