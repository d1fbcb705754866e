"""The text-to-image AR against golden numbers of the published one, by way of its file: weights
made by formulas, in the public layout, taken in by `gear import`.

golden/t2i.json says where its numbers come from. 6 layers x 288, two of them with two streams; 32
codes, 4 x 4 tokens, 12 slots of text, features 48 wide. Sample 0 has 7 tokens of text, sample 1
has 12 and so no padding, sample 2 is the empty caption. Each case is weights/prefix_rope.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import layouts
import pytest
import torch
import torch.nn.functional as F

from gear import config
from gear.ar.transformer import Decoder
from gear.files.aside import write_json
from gear.files.reading import read_json
from gear.foreign import convert
from gear.t2i.load import load_ar
from gear.t2i.transformer import Text
from gear.weights import keys
from gear.weights.importing import import_weights

GOLDEN = json.loads((Path(__file__).parent / "golden/t2i.json").read_text(encoding="utf-8"))
SHAPES = layouts.llamagen_text(layers=6, dim=288, hidden=768, codes=32, width=48)
SIZES = {"golden": {"layers": 6, "dim": 288, "heads": 4, "depth": {"default": 2}}}
NETWORKS = {"vq": config.build({"tokenizer.multipliers": [1, 1, 2], "data.resolution": 16})}
LENGTHS, SLOTS = (7, 12, 0), 12
GRADIENTS = {"mixed": 1e-5, "sine": 1e-4}  # relative error of their norms

# ---- weights and inputs --------------------------------------------------------------------------


def weights(kind):
    """j: the place of a key in the sorted list; i: a number's in its tensor. In float64."""
    state = {}
    for j, key in enumerate(sorted(SHAPES)):
        shape = torch.Size(SHAPES[key])
        i = torch.arange(shape.numel())
        if kind == "mixed":
            v = torch.sin(2 * torch.pi * ((i * i + 31 * i + 97 * j) % 10007).double() / 10007)
            v = 1 + 0.1 * v if len(shape) == 1 else v * 2 / shape[1] ** 0.5
        else:
            v = 0.05 * torch.sin(0.37 * i.double() + 1.3 * j)
            v = 1 + v if len(shape) == 1 else v
        state[key] = v.view(shape).float()
    return state


def numbers(count, first=1):
    return torch.arange(first, count + first, dtype=torch.float64)


def text():
    sample = torch.arange(3, dtype=torch.float64)[:, None, None]
    features = torch.sin(0.31 * torch.outer(numbers(SLOTS), numbers(48)) + 0.9 * sample)
    return Text(features.float(), torch.arange(SLOTS) < torch.tensor(LENGTHS)[:, None])


def target():
    sample = torch.arange(3, dtype=torch.float64)[:, None, None]
    return torch.cos(0.17 * torch.outer(numbers(16), numbers(288)) + 0.5 * sample).float()


def tokens():
    n = torch.arange(16)
    return (5 * n * n + 3 * n + 7 * torch.arange(3)[:, None]) % 32


def of_sample(i, padded=True):
    """The Text of one sample, with all padding or with the last slot alone of it."""
    whole, length = text(), LENGTHS[i]
    kept = [*range(length), *([SLOTS - 1] if length < SLOTS else [])]
    kept = list(range(SLOTS)) if padded else kept
    return Text(whole.features_BPC[i : i + 1, kept], whole.visible_BP[i : i + 1, kept])


# ---- the networks --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """imported(weights): the folder that `gear import` makes; made once."""
    made = {}

    def run(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            live = layouts.random(SHAPES, 5)  # not what is wanted
            torch.save({"model": live, "ema": weights(kind)}, folder / "t2i.pt")
            arguments = (folder / "t2i.pt", folder / "ar", "llamagen-t2i", NETWORKS, SIZES)
            import_weights(*arguments, slots=SLOTS)
            made[kind] = folder / "ar"
        return made[kind]

    return run


@pytest.fixture(scope="module", params=GOLDEN["cases"])
def case(imported, request):
    """The network of one case, what it computes on the golden inputs, and what it should."""
    kind, prefix_rope = request.param.split("/")
    folder = imported(kind)
    record = read_json(folder / "run.json")
    record["settings"]["ar"]["prefix_rope"] = prefix_rope
    write_json(folder / "run.json", record)
    ar, settings = load_ar(folder)
    assert settings.ar.prefix_rope == prefix_rope
    ar.requires_grad_(True)
    logits, tap = read(ar, text(), tokens(), settings.align.layer)
    ntp = F.cross_entropy(logits.flatten(0, 1), tokens().flatten())
    align = -F.cosine_similarity(tap, target(), dim=-1).mean()
    (ntp + 0.5 * align).backward()
    gradients = {name: p.grad for name, p in ar.named_parameters()}
    ar.requires_grad_(False)
    return SimpleNamespace(
        **{"kind": kind, "ar": ar, "logits": logits.detach(), "tap": tap.detach()},
        **{"ntp": ntp.item(), "align": align.item()},
        gradients=convert.to_theirs(gradients, keys.text_ar(6)),
        golden=GOLDEN["cases"][request.param],
    )


def read(ar, text, tokens, layer=2):
    return ar(ar.embedding(tokens[:, :-1]), ar.condition(text), tap=layer)


def off(found, expected):
    return (found - torch.tensor(expected)).abs().max().item()


def off_logits(case, logits, rows=slice(None)):
    step = 1 if case.kind == "mixed" else 4
    return (logits[..., ::step] - torch.tensor(case.golden["logits"])[rows]).abs().max().item()


# ---- the tests -----------------------------------------------------------------------------------


def test_the_network_is_as_large_as_the_published_one(case):
    said = GOLDEN["parameters"]
    assert sum(p.numel() for p in case.ar.parameters()) == said["count"]
    assert len(SHAPES) == said["keys"]


def test_logits_aligned_states_and_losses(case):
    assert off_logits(case, case.logits) < 1e-5
    largest = case.tap.abs().max().item()
    assert off(case.tap[..., :8], case.golden["tap_first8"]) < 1e-5 * largest
    assert off(case.tap.norm(dim=-1), case.golden["tap_norm"]) < 1e-5 * largest
    assert case.ntp == pytest.approx(case.golden["ntp"], abs=1e-6)
    assert case.align == pytest.approx(case.golden["align"], abs=1e-6)
    total = case.ntp + 0.5 * case.align
    assert total == pytest.approx(case.golden["total"], abs=1e-6)


def test_norms_of_the_gradients(case):
    norms = zip(sorted(case.gradients), case.golden["gradient_norm"], strict=True)
    for key, expected in norms:
        parts = case.gradients[key].chunk(3) if "wqkv" in key else (case.gradients[key],)
        found = [part.norm().item() for part in parts]
        expected = expected if "wqkv" in key else [expected]
        assert found == pytest.approx(expected, rel=GRADIENTS[case.kind], abs=0), key


def test_under_zero_the_text_has_no_query_and_key(case):
    zero = {key for key, gradient in case.gradients.items() if not gradient.any()}
    for key in (key for key in case.gradients if "wqkv" in key):
        rows = zip(("query", "key", "value"), case.gradients[key].chunk(3), strict=True)
        zero |= {f"{key}[{name}]" for name, gradient in rows if not gradient.any()}
    assert zero == set(case.golden["gradient_exactly_zero"])


@pytest.mark.parametrize("i", range(3))
def test_padding_may_be_left_out(case, i):
    alone = of_sample(i, padded=False)
    assert alone.features_BPC.shape[1] == min(LENGTHS[i] + 1, SLOTS)
    logits, tap = read(case.ar, alone, tokens()[i : i + 1])
    assert off_logits(case, logits, slice(i, i + 1)) < 1e-5
    torch.testing.assert_close(tap[0], case.tap[i], rtol=0, atol=2e-5)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("guidance", ["1.0", "1.75", "4.0"])
def test_greedy_tokens_by_the_cache(case, guidance, padded):
    """The unconditional half is the empty caption's; without padding it has one slot."""
    ar, scale = case.ar, float(guidance)
    first, second, empty = (ar.condition(of_sample(i, padded)) for i in range(3))
    assert padded or (first.slots, second.slots, empty.slots) == (8, 12, 1)
    prefix = first.beside(second).beside(empty.beside(empty))
    decoder, x, drawn = Decoder(ar, prefix), prefix.vectors_BPD, torch.zeros(4, 0, dtype=torch.long)
    for _ in range(ar.length):
        logits = decoder.next_logits(x)
        cond, uncond = logits.chunk(2)
        token = (uncond + scale * (cond - uncond)).argmax(-1)
        drawn = torch.cat([drawn, token.repeat(2)[:, None]], 1)
        x = ar.embedding(drawn[:, -1:])
    assert drawn[:2].tolist() == case.golden["greedy"][guidance]


def test_the_cache_is_the_whole_pass(case):
    prefix = case.ar.condition(text())
    decoder, x = Decoder(case.ar, prefix), prefix.vectors_BPD
    for position in range(case.ar.length):
        logits = decoder.next_logits(x)
        torch.testing.assert_close(logits, case.logits[:, position], rtol=0, atol=1e-5)
        x = case.ar.embedding(tokens()[:, position : position + 1])
