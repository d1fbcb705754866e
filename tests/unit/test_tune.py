"""Memory format, recomputation: the same numbers, no other names.

Compilation is traced here, and its failures are; compiled code is run in tests/slow."""

from functools import partial

import pytest
import torch
from torch._dynamo.backends.common import aot_autograd
from torch.utils._python_dispatch import TorchDispatchMode

from gear.config import Runtime
from gear.runtime.device import setup
from gear.runtime.loop import Segment
from gear.runtime.tune import tune

RUNS = {"tokenizer": "vq", "joint": "gear-l", "ar": "llamagen-repa-l"}


@pytest.fixture
def trainer(smoke_settings, tiny_networks):
    """trainer(stage, **runtime settings), tuned as a segment tunes it."""

    def build(stage, **runtime):
        settings = smoke_settings(RUNS[stage], **{f"runtime.{k}": v for k, v in runtime.items()})
        found = tiny_networks.trainer(stage, settings)
        found.tune()
        return found

    return build


def steps(trainer, images, count=3):
    """The metrics of the first steps, with the dropout that the loop would draw."""
    data, found = images(trainer.settings), []
    for number in range(count):
        torch.manual_seed(number)
        found.append({k: v.item() for k, v in trainer.step(data.batch(number), number).items()})
    return found


class SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts what is kept for backward passes."""

    def __init__(self):
        self.bytes = 0
        super().__init__(self.pack, lambda x: x)

    def pack(self, x):
        self.bytes += x.nbytes
        return x


@pytest.mark.parametrize("stage", RUNS)
def test_recomputation_keeps_less_and_changes_no_bit(trainer, random_images, stage):
    found, kept = [], []
    for recompute in (False, True):
        saved = SavedBytes()
        with saved:
            found.append(steps(trainer(stage, recompute=recompute), random_images))
        kept.append(saved.bytes)
    assert found[0] == found[1]
    assert kept[1] < 0.7 * kept[0]


@pytest.mark.parametrize("stage", RUNS)
def test_the_memory_format_of_convolutions_changes_nothing_but_rounding(
    trainer, random_images, stage
):
    tuned = trainer(stage, channels_last=True)
    formats = {
        p.is_contiguous(memory_format=torch.channels_last)
        for network in tuned.networks
        for p in network.parameters()
        if p.dim() == 4
    }
    assert formats == {True}
    for mine, plain in zip(
        steps(tuned, random_images), steps(trainer(stage), random_images), strict=True
    ):
        assert mine == pytest.approx(plain, rel=1e-3, abs=1e-5)


def test_a_state_in_the_other_memory_format_goes_on(
    smoke_settings, tiny_networks, random_images, tmp_path
):
    def segment(folder, stop, **runtime):
        settings = smoke_settings("vq", **{f"runtime.{k}": v for k, v in runtime.items()})
        setup(settings)
        trainer = tiny_networks.trainer("tokenizer", settings)
        return Segment(
            trainer, random_images(settings), tmp_path / folder / f"{stop}k", stop - 4, stop
        )

    for folder in ("mixed", "plain"):
        segment(folder, 4).run("x")
    mixed = segment("mixed", 8, channels_last=True)
    mixed.run("x")
    plain = segment("plain", 8)
    plain.run("x")
    for row, expected in zip(mixed.history, plain.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-2, abs=1e-4)
    layouts = [
        (value.stride(), parameter.stride())
        for parameter, state in mixed.trainer.optimizers["tokenizer"].state.items()
        for value in state.values()
        if value.shape == parameter.shape and parameter.dim() == 4
    ]
    assert layouts and all(a == b for a, b in layouts)


# ---- compilation ---------------------------------------------------------------------------------

STILL = {"ar.dropout": 0.0, "ar.token_dropout": 0.0}


@pytest.fixture
def compiler(monkeypatch):
    """compiler(backend, **options) takes the place of torch's own one."""
    whole = torch.compile

    def use(backend, **options):
        torch._dynamo.reset()
        compiled = partial(whole, backend=backend, **options)
        monkeypatch.setattr(torch, "compile", compiled)

    with torch._functorch.config.patch(force_non_lazy_backward_lowering=False):
        yield use
    torch._dynamo.reset()


@pytest.fixture
def first_step(smoke_settings, tiny_networks, random_images):
    """first_step(stage, compile): the metrics of its first step, without dropout."""

    def run(stage, compile):
        settings = smoke_settings(RUNS[stage], **STILL, **{"runtime.compile": compile})
        trainer = tiny_networks.trainer(stage, settings)
        trainer.tune()
        return steps(trainer, random_images, 1)[0]

    return run


def test_all_blocks_are_compiled_whole_and_without_complex_numbers(compiler, first_step, capfd):
    """The compiler has no code for complex numbers: torch would run those parts uncompiled."""
    plain, types = first_step("joint", False), []

    def backend(graph, inputs):
        values = [node.meta.get("example_value") for node in graph.graph.nodes]
        types.append({value.dtype for value in values if isinstance(value, torch.Tensor)})
        return graph.forward

    compiler(backend, fullgraph=True)
    assert first_step("joint", True) == pytest.approx(plain, rel=1e-4, abs=1e-6)
    assert "warning" not in capfd.readouterr().err
    assert len(types) >= 4 and not any(kind.is_complex for kind in set().union(*types))


def failing(graph, inputs):
    raise RuntimeError("no compiler here")


@pytest.mark.parametrize("passes", ["forward", "backward"])
def test_a_failing_compiler_is_said_once_and_the_run_goes_on(compiler, first_step, capfd, passes):
    """At a block's first call. For a backward pass it would fail in that pass, too late."""
    plain = first_step("joint", False)
    backward = aot_autograd(fw_compiler=lambda graph, _: graph.forward, bw_compiler=failing)
    compiler(failing if passes == "forward" else backward)
    assert first_step("joint", True) == plain
    said = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    [line] = said
    assert "runtime.compile failed, the run goes on without it" in line
    assert "no compiler here" in line


def test_an_error_that_is_not_the_compilers_comes_again(compiler, capfd):
    compiler("eager")
    block = torch.nn.Linear(2, 2)
    tune(Runtime(compile=True), [], [block])
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        block(torch.ones(1, 3))
    assert block(torch.ones(1, 2)).shape == (1, 2)


class NoWaiting(TorchDispatchMode):
    """Fails where the host would wait for a device: for a tensor's value, or a size from one."""

    WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "_unique2", "masked_select")

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.overloadpacket.__name__
        assert name not in self.WAITS, f"{name} makes the host wait for the device"
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("stage", RUNS)
def test_no_step_waits_for_the_device(trainer, random_images, stage):
    ready = trainer(stage, log_every=2)
    batches = random_images(ready.settings)
    ready.step(batches.batch(0), 0)
    with NoWaiting():
        for number in (1, 2):  # with and without the report's numbers
            ready.step(batches.batch(number), number)
    with pytest.raises(AssertionError, match="makes the host wait"), NoWaiting():
        torch.ones(1).item()
