"""The fast forms of drawing: precision, packed layers, length classes, fixed shapes, the batch.

Each is compared with the plain form: the network as it is trained, and a loop without any of them.
A recording of CUDA graphs is replaced by one that fails, because the tests have no GPU.
"""

import json
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import captioned
import numpy as np
import pytest
import torch

from gear.ar.condition import Prefix
from gear.ar.transformer import Decoder
from gear.report.captioned import record_words
from gear.runtime import rng
from gear.sampling import batches, generate, replay, steps
from gear.sampling.conditions import Captions, Labels
from gear.sampling.generate import Drawer, Sampler, choose, draw_all, filtered, record_of, uniforms
from gear.sampling.inference import Guided, Packed, inference
from gear.sampling.replay import plain_writes
from gear.study import jobs
from gear.study.registry import Study
from gear.study.schema import check
from gear.t2i.text import load_encoder

SEEDS = np.arange(5, 11)
PLAIN = Sampler(6)
GUIDED = Sampler(6, guidance=1.5, temperature=0.9, top_k=9, top_p=0.95)


@pytest.fixture(params=["zero", "identity"])
def ar(request, smoke_settings, tiny_networks):
    changes = {"ar.prefix_rope": request.param, "ar.layers": 3}
    return tiny_networks.ar(smoke_settings(**changes)).requires_grad_(False)


@pytest.fixture
def prefix(ar):
    return ar.condition(torch.arange(6))


@torch.no_grad()
def plain_loop(ar, prefix, sampler):
    """Tokens of a loop that shares only the decoder, the filters and the choice."""
    guided = sampler.guidance != 1
    if guided:
        prefix = prefix.beside(ar.condition.null(len(SEEDS)))
    decoder, x, drawn = Decoder(ar, prefix), prefix.vectors_BPD, []
    for position in range(ar.length):
        logits = decoder.next_logits(x)
        if guided:
            cond, uncond = logits.chunk(2)
            logits = uncond + sampler.guidance * (cond - uncond)
        u = rng.uniform(("sampling",), SEEDS, np.uint64(position))
        drawn.append(choose(filtered(logits, sampler), u))
        x = ar.embedding(torch.cat([drawn[-1]] * (1 + guided)))[:, None]
    return torch.stack(drawn, 1)


@pytest.mark.parametrize("length", [4, 64])  # of a class: 16 tokens are in several or in one
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("sampler", [PLAIN, GUIDED], ids=["plain", "guided"])
def test_tokens_are_those_of_a_plain_loop(ar, prefix, sampler, fixed, length, monkeypatch):
    monkeypatch.setattr(steps, "CLASS", length)
    drawer = Drawer(ar, sampler, fixed)
    wanted = plain_loop(ar, prefix, sampler)
    assert len(wanted.unique()) > 3
    assert torch.equal(drawer(prefix, SEEDS), wanted)
    assert torch.equal(drawer(prefix, SEEDS), wanted)  # nothing of the first batch is left
    few = prefix._replace(vectors_BPD=prefix.vectors_BPD[:2])
    assert torch.equal(drawer(few, SEEDS[:2]), wanted[:2])


@pytest.mark.parametrize("sampler", [PLAIN, GUIDED], ids=["plain", "guided"])
def test_equal_prefixes_go_through_the_network_once(ar, sampler):
    prefix, rows = ar.condition(torch.tensor([1, 1, 2, 1, 2, 2])), []
    drawer = Drawer(ar, sampler, fixed=False)
    drawer.network.blocks[0].register_forward_hook(lambda _, x, y: rows.append(len(y)))
    assert torch.equal(drawer(prefix, SEEDS), plain_loop(ar, prefix, sampler))
    guided = sampler.guidance != 1
    assert rows == [2 + guided] + [6 * (1 + guided)] * (ar.length - 1)


def test_prefixes_that_differ_in_what_is_visible_are_not_equal():
    visible = torch.tensor([[True, True], [True, False], [True, True]])
    first, of_all = steps.distinct(Prefix(torch.zeros(3, 2, 4, dtype=torch.bfloat16), visible))
    assert first.tolist() == [0, 1] and of_all.tolist() == [0, 1, 0]


@pytest.mark.parametrize("sampler", [PLAIN, GUIDED], ids=["plain", "guided"])
def test_fixed_shapes_read_captions_of_any_length(
    smoke_settings, encoder_folder, tmp_path, sampler, monkeypatch
):
    network = captioned.ar(smoke_settings("gear-t2i", **captioned.changes(tmp_path)))
    encoder = load_encoder(encoder_folder, captioned.TEXT)
    captions = ["", "7", captioned.caption(3), "nine " * 30, captioned.caption(0), "a bold six"]
    conditions = Captions(network, encoder, captions)
    monkeypatch.setattr(steps, "CLASS", 4)
    drawers = Drawer(network, sampler, fixed=False), Drawer(network, sampler, fixed=True)
    for begin, end in ((0, 3), (3, 6), (1, 2)):
        null = conditions.null(end - begin)
        parts = (
            drawer(conditions.prefix(begin, end), SEEDS[begin:end], null) for drawer in drawers
        )
        assert torch.equal(*parts)


@pytest.mark.parametrize("inputs", [96, 768, 2048, 3584])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_layer_rounds_a_row_alike_in_every_batch(inputs, dtype):
    torch.manual_seed(0)
    layer, x = Packed(torch.randn(64, inputs).to(dtype)), torch.randn(40, 1, inputs)
    if not layer.packed:
        pytest.skip("this machine cannot pack a weight")
    whole = layer(x)
    for rows in (1, 2, 3, 5, 8, 33):
        assert torch.equal(layer(x[:rows]), whole[:rows]), rows


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("fixed", [False, True])
def test_images_are_the_same_bits_in_every_batch(smoke_settings, tiny_networks, fixed, precision):
    """With a wide feed-forward layer, where a row that is alone was summed in another order."""
    wide = smoke_settings(**{"ar.dim": 768, "ar.heads": 12, "ar.layers": 1})
    ar = tiny_networks.ar(wide).requires_grad_(False)
    if not Packed(ar.head.weight.to(generate.DTYPES[precision])).packed:
        pytest.skip("this machine cannot pack a weight")
    seen = []
    drawer = Drawer(ar, Sampler(6, precision=precision), fixed)
    drawer.network.head.register_forward_hook(lambda _, x, logits: seen.append(logits))
    prefix = ar.condition(torch.arange(6))
    drawer(prefix, SEEDS)
    whole, seen[:] = torch.cat(seen, 1), []
    for begin, end in ((0, 1), (1, 3), (3, 6)):
        drawer(prefix._replace(vectors_BPD=prefix.vectors_BPD[begin:end]), SEEDS[begin:end])
        assert torch.equal(torch.cat(seen, 1), whole[begin:end])
        seen[:] = []


# recording


class Recording:
    """torch.cuda where every recording fails, as torch tells it: by an error when it ends."""

    def __init__(self, monkeypatch, cause):
        self.cause, self.tried = cause, 0
        stream = SimpleNamespace(wait_stream=lambda _: None)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
        monkeypatch.setattr(torch.cuda, "set_stream", lambda _: None)
        monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
        monkeypatch.setattr(torch.cuda, "graph", self.graph)
        monkeypatch.setattr(replay, "side_stream", lambda _: stream)

    @contextmanager
    def graph(self, *_, **__):
        self.tried += 1
        try:
            raise self.cause
            yield
        except RuntimeError:
            raise RuntimeError("the recording was invalidated")  # noqa: B904


def recorder(ar, sampler):
    drawer = Drawer(ar, sampler, True)
    drawer.gpu = drawer.records = True
    return drawer


def test_a_recording_that_fails_leaves_the_plain_steps_and_one_warning(
    ar, prefix, monkeypatch, capsys
):
    recording = Recording(monkeypatch, RuntimeError("operation not permitted"))
    drawer, few = recorder(ar, GUIDED), prefix._replace(vectors_BPD=prefix.vectors_BPD[:2])
    wanted = plain_loop(ar, prefix, GUIDED)
    monkeypatch.setattr(steps, "CLASS", 4)  # several recordings would be made
    assert torch.equal(drawer(prefix, SEEDS), wanted)
    assert torch.equal(drawer(few, SEEDS[:2]), wanted[:2])  # of another shape
    said = capsys.readouterr().err
    assert recording.tried == said.count("warning: ") == 1 and "was invalidated" in said


def test_a_recording_without_memory_halves_the_batch(ar, prefix, monkeypatch):
    recording = Recording(monkeypatch, torch.OutOfMemoryError())
    drawer = recorder(ar, PLAIN)
    with pytest.raises(torch.OutOfMemoryError):
        drawer(prefix, SEEDS)
    labels = Labels(ar, np.arange(6))
    assert generate._part(drawer, labels, SEEDS, 0, 6, lambda _: None) is None
    recording.cause = RuntimeError()
    drawer.release()
    assert torch.equal(
        generate._part(drawer, labels, SEEDS, 0, 3, lambda _: None),
        plain_loop(ar, prefix, PLAIN)[:3],
    )


def test_the_switch_of_determinism_is_as_before(monkeypatch):
    state = {"on": True, "warn_only": True}

    def switch(on, warn_only=False):
        state.update(on=on, warn_only=warn_only)

    monkeypatch.setattr(torch, "use_deterministic_algorithms", switch)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: state["on"])
    monkeypatch.setattr(
        torch, "is_deterministic_algorithms_warn_only_enabled", lambda: state["warn_only"]
    )
    with pytest.raises(KeyError), plain_writes():
        assert not state["on"]
        raise KeyError
    assert state == {"on": True, "warn_only": True}


# random numbers


def test_all_random_numbers_are_those_of_their_position():
    found = uniforms(SEEDS, 7)
    for position in range(7):
        assert np.array_equal(found[position], rng.uniform(("sampling",), SEEDS, position))
    assert found.dtype == np.float64 and found.min() >= 0 and found.max() < 1


# the network


@torch.no_grad()
def logits_of(network, prefix):
    return Decoder(network, prefix).next_logits(prefix.vectors_BPD)


def test_the_copy_for_drawing_has_the_same_logits_and_embedding(ar, prefix):
    before = {name: value.clone() for name, value in ar.state_dict().items()}
    network = inference(ar)
    torch.testing.assert_close(logits_of(network, prefix), logits_of(ar, prefix))
    assert network.embedding.weight is ar.embedding.weight and network.rope is ar.rope
    assert all(torch.equal(ar.state_dict()[name], before[name]) for name in before)
    assert type(ar.head) is torch.nn.Linear and type(ar.blocks[0].mlp_norm) is torch.nn.RMSNorm


def test_one_product_of_the_head_is_guidance():
    head, states = torch.nn.Linear(8, 30, bias=False).double(), torch.randn(6, 2, 8).double()
    cond, uncond = head(states).chunk(2)
    for scale in (0.0, 0.5, 1.5, 4.0):
        torch.testing.assert_close(Guided(head, scale)(states), uncond + scale * (cond - uncond))


def test_bf16_rounds_the_logits(ar, prefix):
    plain, low = logits_of(ar, prefix), logits_of(inference(ar, "bf16"), prefix)
    off = (plain - low).abs().max() / plain.abs().max()
    assert 1e-4 < off < 0.05
    drawn = Drawer(ar, Sampler(6, precision="bf16"))(prefix, SEEDS)
    assert drawn.shape == (6, 16) and drawn.dtype == torch.int64
    assert torch.equal(drawn, Drawer(ar, Sampler(6, precision="bf16"), True)(prefix, SEEDS))


def test_a_network_in_bfloat16_is_drawn_in_it(ar):
    low = ar.bfloat16()
    assert Drawer(low, GUIDED)(low.condition(torch.arange(6)), SEEDS).shape == (6, 16)


# the setting


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"^`precision` is 'fp16'; it is fp32 or bf16\.$"):
        Sampler(1, precision="fp16")


def test_a_study_may_name_the_precision_and_its_jobs_say_so():
    study = Study("smoke")
    assert "precision" not in json.loads(jobs.drawing(study, "gear-l", "cfg"))["sampler"]
    study.spec["samplers"]["cfg"]["precision"] = "bf16"
    assert json.loads(jobs.drawing(study, "gear-l", "cfg"))["sampler"]["precision"] == "bf16"
    for precision in ("fp32", "bf16"):
        study.spec["samplers"]["cfg"]["precision"] = precision
        check("studies", study.spec, "smoke.yaml")
    study.spec["samplers"]["cfg"]["precision"] = "half"
    with pytest.raises(ValueError, match="precision"):
        check("studies", study.spec, "smoke.yaml")


def test_a_record_names_a_precision_that_is_not_the_default():
    assert "precision" not in record_of(Sampler(2), ["a"])
    record = record_of(Sampler(2, precision="bf16"), ["a"])
    assert record["precision"] == "bf16" and "seed 0, precision bf16, " in record_words(record)


# the batch


def small(monkeypatch, most, tried=64):
    """A device on which at most `most` images fit; returns the list of the batches that were."""
    original, found = generate.Drawer.__call__, []

    def limited(self, prefix, seeds, *more):
        if len(seeds) > most:
            raise torch.OutOfMemoryError
        found.append(len(seeds))
        return original(self, prefix, seeds, *more)

    monkeypatch.setattr(generate.Drawer, "__call__", limited)
    monkeypatch.setattr(batches, "to_try", lambda *_: tried)
    return found


def test_a_batch_that_does_not_fit_is_halved(ar, monkeypatch):
    sampler, labels, seeds = Sampler(11), np.arange(11) % 10, np.arange(11)
    wanted = draw_all(ar, Labels(ar, labels), seeds, sampler, batch=11)
    found = small(monkeypatch, most=5)
    assert np.array_equal(draw_all(ar, Labels(ar, labels), seeds, sampler), wanted)
    assert found == [4, 4, 3]


def test_a_given_batch_is_halved_too(ar, monkeypatch):
    found = small(monkeypatch, most=3)
    draw_all(ar, Labels(ar, np.arange(8)), np.arange(8), PLAIN, batch=8)
    assert found == [2, 2, 2, 2]


def test_an_image_that_does_not_fit_is_an_error(ar, monkeypatch):
    small(monkeypatch, most=0)
    with pytest.raises(torch.OutOfMemoryError):
        draw_all(ar, Labels(ar, np.arange(8)), np.arange(8), PLAIN)


def test_the_batch_that_a_gpu_begins_with(ar, monkeypatch):
    assert batches.to_try(ar, 1, True, 5000) == 256  # a CPU
    monkeypatch.setattr(batches, "on_gpu", lambda _: True)
    for room, images, batch in ((40, 10**6, 64), (40, 9, 16), (40, 1, 1), (10**9, 10**6, 512)):
        memory = room / batches.SHARE * batches.bytes_of_one(ar, 1, True)
        monkeypatch.setattr(batches, "free", lambda _, memory=memory: memory)
        assert batches.to_try(ar, 1, True, images) == batch


def test_progress_is_told_within_a_batch(ar, monkeypatch):
    told = []
    monkeypatch.setattr(generate, "counter", lambda *_: told.append)
    draw_all(ar, Labels(ar, np.arange(6)), SEEDS, PLAIN, batch=4)
    assert told == sorted(told) and told[-1] == 6 and len(told) > 20
