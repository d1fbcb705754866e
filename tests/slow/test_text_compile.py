"""torch.compile of the blocks that read captions, with recomputation, at captions of any length."""

import pytest
import torch
import torch.nn.functional as F
from torch import multiprocessing, nn

from gear import config
from gear.runtime.tune import tune
from gear.t2i.transformer import Text, TextTransformer

pytestmark = pytest.mark.slow
LENGTHS = (5, 9, 3, 7)  # slots of a batch: those of its longest caption


def numbers(**runtime):
    """For each length: loss and gradients' norms; and the names of all weights."""
    torch.manual_seed(0)
    shape = config.AR(layers=2, dim=32, heads=4, dropout=0.0, token_dropout=0.0)
    ar = TextTransformer(shape, 16, config.Text(slots=12, width=8), 4)
    nn.init.normal_(ar.head.weight)
    tune(config.Runtime(**runtime), [], ar.blocks)
    found = []
    for slots in LENGTHS:
        torch.manual_seed(slots)
        visible = torch.arange(slots) < torch.randint(slots + 1, (4, 1))
        text, tokens = Text(torch.randn(4, slots, 8), visible), torch.randint(16, (4, 16))
        ar.zero_grad()
        logits, _ = ar(ar.embedding(tokens[:, :-1]), ar.condition(text))
        loss = F.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        loss.backward()
        found.append(torch.stack([loss.detach(), *[p.grad.norm() for p in ar.parameters()]]))
    return torch.stack(found), list(ar.state_dict())


def process(rank, file):
    """In a process of its own: compiled code keeps threads, which no fork of a test can bear."""
    torch.set_num_threads(1)
    found = {"compiled": numbers(recompute=True, compile=True)}
    found["graphs"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch.save(found | {"eager": numbers()}, file)


def test_compiled_blocks_read_captions_of_any_length(tmp_path):
    multiprocessing.spawn(process, (str(tmp_path / "found"),))
    found = torch.load(tmp_path / "found")
    (compiled, names), (eager, plain) = found["compiled"], found["eager"]
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-6)
    assert names == plain
    # two kinds of blocks, each once for the first length and once for all others
    assert found["graphs"] == 4
