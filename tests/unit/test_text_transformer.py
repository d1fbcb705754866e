"""The AR that reads captions: its two streams, what padding and other captions change, its update.

Its numbers stand in test_text_golden.py. Here it is tiny, and all weights are large enough to
tell apart what they do.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gear import config
from gear.ar.transformer import Block
from gear.runtime import optim
from gear.runtime.tune import tune
from gear.t2i.transformer import Text, TextBlock, TextTransformer, two_streams

SLOTS, WIDTH, CODES = 9, 10, 16
LENGTHS = (8, 3, 0, 9)  # tokens of four captions; the last one fills all slots


def network(layers=4, **changes):
    torch.manual_seed(4)
    shape = {"layers": layers, "dim": 32, "heads": 4, "dropout": 0.0, "token_dropout": 0.0}
    text = config.Text(slots=SLOTS, width=WIDTH)
    ar = TextTransformer(config.AR(**shape | changes), CODES, text, 4)
    for parameter in ar.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, 0.0, 0.3)
    return ar.eval()


def captions(lengths=LENGTHS, slots=SLOTS):
    """Features that depend on the caption's number, padded to `slots`."""
    torch.manual_seed(5)
    features = torch.randn(len(LENGTHS), SLOTS, WIDTH)
    rows = [LENGTHS.index(n) for n in lengths]
    # the last slot's features stay those of the last slot
    features = torch.cat([features[rows, : slots - 1], features[rows, -1:]], 1)
    return Text(features, torch.arange(slots) < torch.tensor(lengths)[:, None])


def tokens():
    torch.manual_seed(6)
    return torch.randint(CODES, (len(LENGTHS), 16))


def read(ar, text, drawn, **options):
    return ar(ar.embedding(drawn[:, :-1]), ar.condition(text), **options)


# the streams


@pytest.mark.parametrize("layers, two", [(1, 1), (4, 1), (5, 2), (12, 4), (24, 8), (36, 12)])
def test_the_first_third_of_the_blocks_has_two_streams(layers, two):
    assert two_streams(layers) == two
    with torch.device("meta"):
        ar = TextTransformer(config.AR(layers=layers, dim=8, heads=2), 4, config.Text(), 2)
    assert [type(block) for block in ar.blocks] == [TextBlock] * two + [Block] * (layers - two)


def test_a_new_network_starts_as_the_published_one():
    torch.manual_seed(0)
    ar = TextTransformer(config.AR(layers=3, dim=64, heads=4), 50, config.Text(width=96), 4)
    for name, parameter in ar.named_parameters():
        if name == "head.weight":
            assert not parameter.any()
        elif parameter.ndim == 1:
            assert (parameter == 1).all(), name
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name


@pytest.mark.parametrize("name", ["text_norm", "text_qkv", "text_out"])
def test_without_text_the_text_stream_does_nothing(name):
    """Only a block's first `text` positions go through its text stream."""
    ar, x = network(), torch.randn(2, 5, 32)
    block, other = ar.blocks[0], copy.deepcopy(ar.blocks[0])
    module = getattr(other, name)
    module.weight.data = module.weight.data * 3
    rope = ar.rope[SLOTS : SLOTS + 5]
    assert torch.equal(block(x, rope, text=0), other(x, rope, text=0))
    moved = (block(x, rope, text=2) - other(x, rope, text=2)).abs().amax((0, 2))
    assert (moved[:2] > 1e-4).all()
    # image positions read the text's keys and values, but not its output
    assert (moved[2:] > 1e-4).all() == (name != "text_out")


def test_the_text_stream_with_the_weights_of_the_image_is_one_stream():
    ar, plain = network(), network()
    block = ar.blocks[0]
    for own, its in (("text_norm", "attention_norm"), ("text_qkv", "qkv"), ("text_out", None)):
        source = getattr(block, its or "attention_out")
        getattr(block, own).load_state_dict(source.state_dict())
    plain.blocks[0] = Block(ar.config)
    state = {k: v for k, v in block.state_dict().items() if not k.startswith("text_")}
    plain.blocks[0].load_state_dict(state)
    both = [read(each, captions(), tokens())[0] for each in (ar, plain)]
    torch.testing.assert_close(*both, rtol=1e-4, atol=1e-4)


# captions


@pytest.mark.parametrize("prefix_rope", ["identity", "zero"])
def test_the_order_of_words_matters_by_causality_alone(prefix_rope):
    """No slot has a position: the first slots of a caption may change places only in the slots
    after them, which read all of them in any order."""
    ar, text = network(prefix_rope=prefix_rope), captions()
    block = ar.blocks[0]
    prefix = ar.condition(text)
    rope, mask = ar.rotations(prefix, 0, SLOTS), prefix.mask(0)
    x = prefix.vectors_BPD[:1]
    turned = x[:, [1, 0, *range(2, SLOTS)]]
    before, after = (block(v, rope, mask[:1], text=SLOTS) for v in (x, turned))
    torch.testing.assert_close(after[:, 2:], before[:, 2:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after[:, 0], before[:, 1], atol=1e-3)


def test_zero_reads_all_words_with_one_weight_and_identity_does_not():
    """Two captions whose first block's values are equal, but whose keys are not."""
    for prefix_rope, same in (("zero", True), ("identity", False)):
        ar = network(layers=1, prefix_rope=prefix_rope)
        before, _ = read(ar, captions(), tokens())
        with torch.no_grad():
            ar.blocks[0].text_qkv.weight[: 2 * 32] *= 2  # query and key, not value
        assert torch.equal(read(ar, captions(), tokens())[0], before) == same


def test_a_picture_does_not_depend_on_the_other_captions():
    """Alone, beside others, and with more padding: equal up to the rounding of additions."""
    ar = network()
    whole, tap = read(ar, captions(), tokens(), tap=2)
    for i, length in enumerate(LENGTHS):
        for slots in range(min(length + 1, SLOTS), SLOTS + 1):
            alone = captions((length,), slots)
            logits, states = read(ar, alone, tokens()[i : i + 1], tap=2)
            torch.testing.assert_close(logits[0], whole[i], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(states[0], tap[i], rtol=1e-4, atol=1e-4)


def test_a_condition_has_the_slots_of_its_text_and_the_dtype_of_its_weights():
    ar = network()
    features, visible = captions()
    prefix = ar.condition(Text(features.bfloat16(), visible))
    assert prefix.vectors_BPD.dtype == torch.float32 and prefix.visible_BP is visible
    expected = F.gelu(features @ ar.condition.fc1.weight.T, approximate="tanh")
    torch.testing.assert_close(
        ar.condition(Text(features, visible)).vectors_BPD, expected @ ar.condition.fc2.weight.T
    )
    assert [name for name, _ in ar.condition.named_parameters()] == ["fc1.weight", "fc2.weight"]


# the update


def step(ar, dtype=None):
    """The gradient norm of one optimizer step, and the loss."""
    optimizer = optim.adamw(ar.parameters(), 1e-3, config.Optim())
    seen = []

    def losses():
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            logits, tap = read(ar, captions(), tokens(), tap=1)
            loss = F.cross_entropy(logits.flatten(0, 1).float(), tokens().flatten())
            seen.append(loss - F.cosine_similarity(tap.float(), torch.ones_like(tap), -1).mean())
        yield seen[0]

    return optim.update(losses(), 1, optimizer, 1e-3, 1.0).item(), seen[0].item()


def test_a_step_under_bfloat16_is_finite_and_near_that_in_float32():
    both = []
    for dtype in (None, torch.bfloat16):
        ar = network().train()
        both.append(step(ar, dtype))
        assert all(p.isfinite().all() and p.grad.isfinite().all() for p in ar.parameters())
    assert both[1] == pytest.approx(both[0], rel=0.1) and both[0][1] > 0


def test_recomputed_blocks_have_the_same_bits():
    ar, again = network().train(), network().train()
    tune(config.Runtime(recompute=True), [], again.blocks)
    assert step(ar) == step(again)
    for one, other in zip(ar.parameters(), again.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad) and torch.equal(one, other)
