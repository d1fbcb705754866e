"""Prefixes of several slots, some of them padding, in the transformer and in its decoding.

A class has one slot. `Slots` below stands for a condition of several, such as a caption.
"""

import pytest
import torch
from torch import nn

from gear.ar.condition import ClassCondition, Prefix
from gear.ar.transformer import Decoder, rotary_table

P, B = 5, 3
LENGTHS = (5, 3, 1)  # visible slots of each sample, the first ones; the last slot is always there


class Slots(nn.Module):
    slots = P


@pytest.fixture(params=["identity", "zero"])
def ar(smoke_settings, tiny_networks, request):
    """An AR with room for P slots."""
    settings = smoke_settings(**{"ar.prefix_rope": request.param, "ar.layers": 3})
    network, config = tiny_networks.ar(settings).requires_grad_(False), settings.ar
    network.condition = Slots()
    network.rope = rotary_table(4, config.dim // config.heads, P, request.param)
    return network


@pytest.fixture
def prefix():
    visible = torch.arange(P) < torch.tensor(LENGTHS)[:, None]
    return Prefix(torch.randn(B, P, 16), visible)


def tokens():
    return torch.randint(16, (B, 16))


def read(ar, prefix, tokens, **options):
    return ar(ar.embedding(tokens[:, :-1]), prefix, **options)


def test_a_mask_by_hand():
    mask = Prefix(torch.zeros(1, 3, 4), torch.tensor([[True, False, False]])).mask(2)
    assert mask.shape == (1, 1, 5, 5)
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],  # padding reads itself
        [1, 0, 1, 0, 0],  # the last slot too
        [1, 0, 0, 1, 0],  # no token reads padding
        [1, 0, 0, 1, 1],
    ]
    assert Prefix(torch.zeros(1, 3, 4)).mask(2) is None


def test_all_visible_is_plain_causality(ar, prefix):
    drawn = tokens()
    masked, tap = read(ar, Prefix(prefix.vectors_BPD, torch.ones(B, P).bool()), drawn, tap=2)
    plain, same = read(ar, Prefix(prefix.vectors_BPD), drawn, tap=2)
    assert plain.shape == (B, 16, 16) and same.shape == (B, 16, 16)
    torch.testing.assert_close(masked, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tap, same, rtol=1e-5, atol=1e-5)


def test_padding_changes_nothing_and_may_be_left_out(ar, prefix):
    """Each sample alone, with its visible slots and the last one only."""
    drawn = tokens()
    logits, tap = read(ar, prefix, drawn, tap=2)
    for i, length in enumerate(LENGTHS):
        kept = [*range(length), *([P - 1] if length < P else [])]
        alone = Prefix(prefix.vectors_BPD[i : i + 1, kept], prefix.visible_BP[i : i + 1, kept])
        expected, states = read(ar, alone, drawn[i : i + 1], tap=2)
        torch.testing.assert_close(logits[i], expected[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(tap[i], states[0], rtol=1e-5, atol=1e-5)
    vectors = prefix.vectors_BPD.clone()
    vectors[1, 3] += 1  # padding of sample 1
    assert torch.equal(read(ar, prefix._replace(vectors_BPD=vectors), drawn)[0], logits)
    vectors[1, 2] += 1  # its last visible slot
    moved = read(ar, prefix._replace(vectors_BPD=vectors), drawn)[0] - logits
    assert (moved[1].abs().amax(-1) > 1e-6).all() and not moved[[0, 2]].any()


def test_the_last_slot_is_read_by_tokens_only_where_it_is_visible(ar, prefix):
    drawn = tokens()
    before, _ = read(ar, prefix, drawn)
    vectors = prefix.vectors_BPD.clone()
    vectors[:, -1] += 1
    moved = (read(ar, prefix._replace(vectors_BPD=vectors), drawn)[0] - before).abs().amax(-1)
    assert (moved[:, 0] > 1e-6).all()  # it predicts the first token
    assert (moved[0, 1:] > 1e-6).all() and not moved[1:, 1:].any()


def test_the_cache_gives_the_logits_of_the_whole_sequence(ar, prefix):
    drawn = tokens()
    for each in (prefix, Prefix(prefix.vectors_BPD[:, 2:])):  # the second is shorter than its room
        whole, _ = read(ar, each, drawn)
        decoder, x = Decoder(ar, each), each.vectors_BPD
        for position in range(ar.length):
            logits = decoder.next_logits(x)
            torch.testing.assert_close(logits, whole[:, position], rtol=1e-5, atol=1e-5)
            x = ar.embedding(drawn[:, position : position + 1])


def test_prefixes_beside_each_other(prefix):
    both = prefix.beside(prefix)
    assert torch.equal(both.vectors_BPD, torch.cat([prefix.vectors_BPD] * 2))
    assert torch.equal(both.visible_BP, torch.cat([prefix.visible_BP] * 2))
    assert Prefix(prefix.vectors_BPD).beside(Prefix(prefix.vectors_BPD)).visible_BP is None


def test_padding_stands_before_the_last_slot(ar, prefix):
    short = Prefix(prefix.vectors_BPD[:, -3:], prefix.visible_BP[:, 2:])
    padded = short.padded(P)
    assert padded.slots == P and short.padded(3) is short
    assert torch.equal(padded.vectors_BPD[:, [0, 1, 4]], short.vectors_BPD)
    assert torch.equal(padded.visible_BP[:, [0, 1, 4]], short.visible_BP)
    assert not padded.vectors_BPD[:, 2:4].any() and not padded.visible_BP[:, 2:4].any()
    whole = Prefix(short.vectors_BPD).padded(P)  # a prefix without padding says so by None
    assert whole.visible_BP.int().tolist() == [[1, 1, 0, 0, 1]] * B
    drawn = tokens()
    same = read(ar, padded, drawn)[0], read(ar, short, drawn)[0]
    torch.testing.assert_close(*same, rtol=1e-5, atol=1e-5)


def test_the_shorter_of_two_prefixes_is_padded(prefix):
    short = Prefix(prefix.vectors_BPD[:, -2:], prefix.visible_BP[:, -2:])
    for both, its in ((short.beside(prefix), slice(0, B)), (prefix.beside(short), slice(B, None))):
        assert both.vectors_BPD.shape == (2 * B, P, 16) and both.visible_BP.shape == (2 * B, P)
        assert torch.equal(both.vectors_BPD[its], short.padded(P).vectors_BPD)
        assert torch.equal(both.visible_BP[its], short.padded(P).visible_BP)


def test_a_class_is_a_row_of_the_table_and_the_null_the_last():
    condition, labels = ClassCondition(10, 4), torch.tensor([3, 0, 9])
    assert [name for name, _ in condition.named_parameters()] == ["weight"]
    assert condition.weight.shape == (11, 4) and condition(labels).slots == condition.slots == 1
    assert torch.equal(condition(labels).vectors_BPD[:, 0], condition.weight[labels])
    assert torch.equal(condition.null(2).vectors_BPD[:, 0], condition.weight[[10, 10]])
    dropped = condition(labels, torch.tensor([False, True, False])).vectors_BPD[:, 0]
    assert torch.equal(dropped, condition.weight[[3, 10, 9]])
