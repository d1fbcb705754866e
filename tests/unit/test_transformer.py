"""The AR: causality, rotary positions, the key-value cache, the tap, and its update."""

import copy
from math import cos, log, sin

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gear.ar.condition import dropped
from gear.ar.transformer import Decoder, Transformer, rotary_table, rotate
from gear.data.memory import Batch

approx = pytest.approx


@pytest.fixture
def ar(smoke_settings, tiny_networks):
    return lambda **changes: tiny_networks.ar(smoke_settings(**changes))


def read(ar, tokens, labels, **options):
    return ar(ar.embedding(tokens[:, :-1]), ar.condition(labels), **options)


def some(ar, batch=3):
    return torch.randint(16, (batch, ar.length)), torch.arange(batch)


# causality


@pytest.mark.parametrize("changed", [0, 6, 14])
def test_a_token_changes_only_what_comes_after_it(ar, changed):
    ar = ar()
    tokens, labels = some(ar)
    before, _ = read(ar, tokens, labels)
    tokens[:, changed] = (tokens[:, changed] + 1) % 16
    after, _ = read(ar, tokens, labels)
    assert torch.equal(before[:, : changed + 1], after[:, : changed + 1])
    moved = (before - after).abs().amax((0, 2))[changed + 1 :]
    assert (moved > 1e-6).all()


def test_the_label_changes_every_position(ar):
    ar = ar()
    tokens, labels = some(ar)
    moved = read(ar, tokens, labels)[0] - read(ar, tokens, labels + 1)[0]
    assert (moved.abs().amax((0, 2)) > 1e-6).all()


@pytest.mark.parametrize("prefix_rope", ["identity", "zero"])
def test_the_cache_gives_the_logits_of_the_whole_sequence(ar, prefix_rope):
    ar = ar(**{"ar.prefix_rope": prefix_rope, "ar.layers": 3})
    tokens, labels = some(ar)
    whole, _ = read(ar, tokens, labels)
    assert whole.shape == (3, 16, 16)
    prefix = ar.condition(labels)
    decoder, x = Decoder(ar, prefix), prefix.vectors_BPD
    for position in range(ar.length):
        logits = decoder.next_logits(x)
        torch.testing.assert_close(logits, whole[:, position], rtol=1e-5, atol=1e-5)
        x = ar.embedding(tokens[:, position : position + 1])


def test_the_two_rotations_of_the_prefix_are_two_networks(ar):
    tokens, labels = some(ar())
    logits = [read(ar(**{"ar.prefix_rope": p}), tokens, labels)[0] for p in ("identity", "zero")]
    assert torch.equal(logits[0][:, 0], logits[1][:, 0])  # alone, the prefix sees only itself
    assert not torch.allclose(logits[0][:, 1:], logits[1][:, 1:], atol=1e-6)


# rotary positions


@pytest.mark.parametrize("prefix_rope", ["identity", "zero"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_rotations_are_the_eager_ones_to_rounding(monkeypatch, prefix_rope, dtype):
    """Real arithmetic in place of complex numbers. With some shapes a CPU rounds otherwise."""
    table, found = rotary_table(4, 8, 1, prefix_rope), []
    x_BHSd, gradient = torch.randn(2, 2, 3, 17, 8).to(dtype)
    for compiling in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda compiling=compiling: compiling)
        x = x_BHSd.clone().requires_grad_()
        y = rotate(x, table)
        y.backward(gradient)
        found.append((y.detach(), x.grad))
        assert y.dtype == dtype and y.shape == x.shape
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-6, atol=1e-6)


SIDE, WIDTH = 5, 8


def turned(x, prefix_rope="identity"):
    """x (WIDTH,) as it is at the prefix (row 0) and at every cell (rows 1 to SIDE^2)."""
    table = rotary_table(SIDE, WIDTH, 1, prefix_rope)
    return rotate(x.expand(1, 1, SIDE**2 + 1, WIDTH), table)[0, 0]


def test_the_prefix_is_not_turned_or_is_nothing():
    x = torch.randn(WIDTH)
    assert torch.equal(turned(x)[0], x)
    assert torch.equal(turned(x, "zero")[0], torch.zeros(WIDTH))
    assert torch.equal(turned(x, "zero")[1:], turned(x)[1:])
    torch.testing.assert_close(turned(x).norm(dim=-1), x.norm().expand(SIDE**2 + 1))


def test_angles_by_hand():
    """Pairs 0, 1 turn with the row, pairs 2, 3 with the column, at 1 and 1/100 radian a cell."""
    x = torch.tensor([1.0, 0.0] * 4)
    row, column = 3, 2
    angles = [row, row / 100, column, column / 100]
    expected = [f(a) for a in angles for f in (cos, sin)]
    assert turned(x)[1 + SIDE * row + column].tolist() == approx(expected, abs=1e-6)


def test_products_depend_on_the_difference_of_rows_and_of_columns():
    q, k = (turned(torch.randn(WIDTH))[1:].view(SIDE, SIDE, WIDTH) for _ in range(2))
    found = {}
    for r, c in np.ndindex(SIDE, SIDE):
        for s, d in np.ndindex(SIDE, SIDE):
            found.setdefault((s - r, d - c), []).append((q[r, c] * k[s, d]).sum().item())
    assert len(found) == (2 * SIDE - 1) ** 2
    assert max(max(v) - min(v) for v in found.values()) < 1e-5
    means = np.sort([v[0] for v in found.values()])
    assert np.diff(means).max() > 0.01 and means[-1] - means[0] > 0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_dtype_turns_by_the_same_angles(ar, dtype):
    network = ar()
    table = network.rope.clone()
    assert torch.equal(network.to(dtype).rope, table) and network.head.weight.dtype == dtype
    assert torch.equal(network.float().to("cpu").rope, table)
    assert not [name for name in network.state_dict() if "rope" in name]
    # a lost sine would leave all cells of a row alike
    assert table.shape == (17, 4, 2) and (table[1:, 0, 1] != 0).any()


def test_a_head_too_narrow_for_two_dimensions_is_refused(smoke_settings):
    settings = smoke_settings(**{"ar.heads": 8})
    with pytest.raises(ValueError) as error:
        Transformer(settings.ar, 16, 10, 4)
    assert str(error.value) == (
        "ar.dim 16 over ar.heads 8 gives no head width that is a multiple of 4, which 2D rotary "
        "positions need."
    )


# the head and the tap


def test_a_new_transformer_knows_nothing(smoke_settings):
    settings = smoke_settings()
    ar = Transformer(settings.ar, 16, 10, 4)
    tokens, labels = some(ar)
    logits, _ = read(ar, tokens, labels)
    loss = F.cross_entropy(logits.flatten(0, 1), tokens.flatten())
    assert loss.item() == approx(log(16), abs=1e-6)


@pytest.mark.parametrize("tap", [1, 2, 3])
def test_the_tap_is_the_output_of_its_block(ar, tap):
    ar = ar(**{"ar.layers": 3})
    tokens, labels = some(ar)
    outputs = []
    for block in ar.blocks:
        block.register_forward_hook(lambda *a: outputs.append(a[2]))
    _, tapped = read(ar, tokens, labels, tap=tap)
    assert torch.equal(tapped, outputs[tap - 1]) and len(outputs) == 3
    none, stopped = read(ar, tokens, labels, tap=tap, stop=True)
    assert none is None and torch.equal(stopped, tapped) and len(outputs) == 3 + tap
    assert read(ar, tokens, labels)[1] is None
    assert tapped.shape == (3, 16, 16)


def test_dropout_is_of_training_alone(ar):
    ar = ar(**{"ar.dropout": 0.5, "ar.token_dropout": 0.5})
    tokens, labels = some(ar)
    assert torch.equal(read(ar, tokens, labels)[0], read(ar, tokens, labels)[0])
    ar.train()
    assert not torch.equal(read(ar, tokens, labels)[0], read(ar, tokens, labels)[0])


# the update


def labelled(indices, epoch=0, label=3):
    """A batch of which only labels, indices and epoch matter."""
    indices = np.asarray(indices)
    return Batch(None, torch.full((len(indices),), label), indices, epoch)


def test_a_tenth_of_the_conditions_is_dropped_by_image_and_epoch():
    whole = dropped(0.1, 0, labelled(range(20000)))
    assert whole.float().mean().item() == approx(0.1, abs=0.01)
    # the same images in another batch, in another order
    assert torch.equal(dropped(0.1, 0, labelled(range(500, 100, -1))), whole[101:501].flip(0))
    later = dropped(0.1, 0, labelled(range(20000), epoch=1))
    assert (later & whole).float().mean().item() == approx(0.01, abs=0.003)  # independent
    assert not torch.equal(dropped(0.1, 5, labelled(range(20000))), whole)


def test_the_null_stands_where_a_condition_is_dropped(smoke_settings, tiny_networks):
    update = tiny_networks.trainer("ar", smoke_settings(**{"ar.label_dropout": 0.3})).ar_update
    batch, table = labelled(range(100)), update.ar.condition.weight
    null = dropped(0.3, update.settings.seed, batch)
    expected = torch.where(null[:, None], table[10], table[3])  # 10 is the null class
    vectors = update.prefix(batch, update.drawn(batch)).vectors_BPD
    assert 10 < null.sum() < 60 and torch.equal(vectors[:, 0], expected)


@pytest.mark.parametrize("share, expected", [(0.0, 3), (1.0, 10)])
def test_no_condition_and_every_condition_dropped(smoke_settings, tiny_networks, share, expected):
    update = tiny_networks.trainer("ar", smoke_settings(**{"ar.label_dropout": share})).ar_update
    batch = labelled(range(100))
    vectors = update.prefix(batch, update.drawn(batch)).vectors_BPD
    assert torch.equal(vectors, update.ar.condition.weight[expected].expand(100, 1, -1))


def test_the_loss_is_ntp_plus_lambda_times_alignment(smoke_settings, tiny_networks, random_images):
    still = {"ar.dropout": 0.0, "ar.token_dropout": 0.0, "ar.label_dropout": 0.0}
    settings = smoke_settings(
        "llamagen-repa-l", **still, **{"align.weight": 0.7, "optim.clip": 1e9}
    )
    trainer = tiny_networks.trainer("ar", settings)
    batch = random_images(settings).batch(0)
    update, target = trainer.ar_update, trainer.teacher(batch.images)
    torch.nn.init.normal_(update.ar.head.weight)
    tokens = trainer.tokenizer.tokens(batch.images)
    logits, tap = read(update.ar, tokens, batch.labels, tap=settings.align.layer)
    ntp = -logits.log_softmax(-1).gather(-1, tokens[..., None]).mean()
    align = -F.cosine_similarity(update.projector(tap), target, dim=-1).mean()
    parameters = [*update.ar.parameters(), *update.projector.parameters()]
    expected = torch.autograd.grad(ntp + 0.7 * align, parameters)
    metrics = update.update([tokens], [batch], [target], [update.drawn(batch)], 5)
    assert metrics["ntp"].item() == approx(ntp.item(), rel=1e-5)
    assert metrics["align_ar"].item() == approx(align.item(), rel=1e-5)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_training_an_ar_leaves_its_tokenizer_alone(smoke_settings, tiny_networks, random_images):
    settings = smoke_settings("llamagen-repa-l")
    trainer = tiny_networks.trainer("ar", settings)
    before = copy.deepcopy(trainer.tokenizer.state_dict())
    for number in range(3):
        trainer.step(random_images(settings).batch(number), number)
    after = trainer.tokenizer.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert set(trainer.exports()) == {"ar", "live.ar", "projector"}
