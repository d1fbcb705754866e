"""Drawing tokens: filters and choice worked by hand, guidance, and one seed per image."""

import dataclasses
from math import log

import numpy as np
import pytest
import scipy.stats
import torch

from gear.ar.load import load_ar
from gear.ar.transformer import Decoder
from gear.evaluation.score import load_samples
from gear.runtime import rng
from gear.sampling import generate as generation
from gear.sampling.decode import decode
from gear.sampling.generate import Sampler, choose, draw, filtered, generate, save_arrays

INF = float("inf")


@pytest.fixture
def ar(smoke_settings, tiny_networks):
    return tiny_networks.ar(smoke_settings())


def tokens(ar, sampler, labels=(0, 1, 2, 3), seeds=(5, 6, 7, 8)):
    return draw(ar, ar.condition(torch.as_tensor(labels)), np.array(seeds), sampler)


# filters


def kept(logits, **options):
    found = filtered(torch.tensor([logits]), Sampler(1, **options))[0]
    return [i for i, x in enumerate(found.tolist()) if x != -INF]


P = [log(p) for p in (0.15, 0.5, 0.05, 0.3)]


def test_temperature_divides():
    found = filtered(torch.tensor([[2.0, -1.0]]).bfloat16(), Sampler(1, temperature=0.5))
    assert found.tolist() == [[4.0, -2.0]] and found.dtype == torch.float32


def test_top_k_keeps_ties():
    assert kept([2.0, 1.0, 1.0, 0.0], top_k=1) == [0]
    assert kept([2.0, 1.0, 1.0, 0.0], top_k=2) == [0, 1, 2]
    assert kept([2.0, 1.0, 1.0, 0.0], top_k=9) == [0, 1, 2, 3]
    assert kept([2.0, 1.0, 1.0, 0.0]) == [0, 1, 2, 3]


def test_top_p_keeps_the_fewest_codes_that_hold_it():
    assert kept(P, top_p=0.01) == [1]
    assert kept(P, top_p=0.49) == [1]
    assert kept(P, top_p=0.51) == [1, 3]
    assert kept(P, top_p=0.9) == [0, 1, 3]
    assert kept(P, top_p=0.96) == [0, 1, 2, 3]
    assert kept(P, top_p=1.0) == [0, 1, 2, 3]


def test_the_order_is_temperature_top_k_top_p():
    assert kept(P, top_p=0.6) == [1, 3]
    assert kept(P, top_p=0.6, temperature=0.5) == [1]  # squares: 0.68, 0.25, 0.06, 0.01
    assert kept(P, top_p=0.6, top_k=2) == [1]  # of the two: 0.625, 0.375


def test_each_image_is_filtered_by_itself():
    logits = torch.tensor([P, P[::-1]])
    found = filtered(logits, Sampler(1, top_p=0.6)).isfinite()
    assert found.tolist() == [[False, True, False, True], [True, False, True, False]]


# choice


def test_choice_is_the_inverse_of_the_cumulative_distribution():
    logits = torch.tensor([[0.2, 0.3, 0.5]]).log().expand(7, 3)
    u = [0.0, 0.19, 0.21, 0.49, 0.51, 0.99, 1 - 2**-53]
    assert choose(logits, u).tolist() == [0, 0, 1, 1, 2, 2, 2]
    # at the edge: the first code whose cumulative probability exceeds u
    assert choose(torch.zeros(3, 2), [0.5 - 2**-53, 0.5, 0.5 + 2**-53]).tolist() == [0, 1, 1]


def test_what_is_ruled_out_is_never_chosen():
    logits = torch.tensor([[-INF, 0.0, -INF, 1.0, -INF]])
    u = [0.0, 2.0**-53, 0.2, 0.3, 0.9, 1 - 2**-53]
    assert choose(logits.expand(6, 5), u).tolist() == [1, 1, 1, 3, 3, 3]
    rows = torch.randn(500, 40) * 5
    last = choose(rows.masked_fill(torch.arange(40) > 20, -INF), np.full(500, 1 - 2**-53))
    assert last.max() <= 20


def test_a_diverged_network_still_gives_codes(ar):
    for parameter in ar.parameters():
        parameter.data.fill_(float("nan"))
    for options in ({}, {"guidance": 1.5}, {"top_k": 3}, {"top_p": 0.5}):
        drawn = tokens(ar, Sampler(1, **options))
        assert drawn.min() >= 0 and drawn.max() < 16


def test_choices_follow_the_softmax():
    logits = torch.randn(12) * 1.5
    u = rng.uniform(("test",), np.arange(20000))
    found = torch.bincount(choose(logits.expand(20000, 12), u), minlength=12)
    expected = logits.double().softmax(0) * 20000
    assert scipy.stats.chisquare(found, expected).pvalue > 0.01


def test_first_tokens_follow_the_logits_of_their_label(ar):
    drawn = tokens(ar, Sampler(1), np.full(3000, 4), np.arange(3000))[:, 0]
    with torch.no_grad():
        prefix = ar.condition(torch.tensor([4]))
        logits = Decoder(ar, prefix).next_logits(prefix.vectors_BPD)[0]
    expected = logits.double().softmax(0) * 3000
    assert scipy.stats.chisquare(torch.bincount(drawn, minlength=16), expected).pvalue > 0.01


# guidance


def by_hand(ar, guidance, labels, seeds):
    """The same tokens from whole forward passes."""
    drawn = torch.zeros(len(labels), 0, dtype=torch.long)
    for position in range(ar.length):
        u = ar.embedding(drawn)
        cond = ar(u, ar.condition(labels))[0][:, -1]
        uncond = ar(u, ar.condition(torch.full_like(labels, 10)))[0][:, -1]
        p = (uncond + guidance * (cond - uncond)).double().softmax(-1).cumsum(-1)
        point = torch.from_numpy(rng.uniform(("sampling",), seeds, np.uint64(position)))
        drawn = torch.cat([drawn, (p <= point[:, None]).sum(-1, keepdim=True)], 1)
    return drawn


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 1.5, 4.0])
def test_guidance_is_uncond_plus_scale_times_difference(ar, guidance):
    labels, seeds = torch.tensor([0, 1, 2, 3]), np.arange(4)
    with torch.no_grad():
        expected = by_hand(ar, guidance, labels, seeds)
    assert torch.equal(tokens(ar, Sampler(1, guidance=guidance), labels, seeds), expected)


def test_guidance_changes_the_samples(ar):
    drawn = [tokens(ar, Sampler(1, guidance=g)) for g in (0.0, 1.0, 4.0)]
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[2])
    null = tokens(ar, Sampler(1), labels=[10] * 4)
    assert torch.equal(drawn[0], null)  # 0 is the unconditional model


def test_the_best_of_one_is_the_argmax(ar):
    drawn = tokens(ar, Sampler(1, top_k=1))
    logits, _ = ar(ar.embedding(drawn[:, :-1]), ar.condition(torch.arange(4)))
    assert torch.equal(logits.argmax(-1), drawn)
    assert torch.equal(drawn, tokens(ar, Sampler(1, top_k=1), seeds=(1, 2, 3, 4)))


# one seed per image


@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_samples_do_not_depend_on_batch_or_order(ar, guidance):
    sampler = Sampler(40, guidance=guidance, seed=3)
    whole = generate(ar, 10, sampler)
    parts = generate(ar, 10, sampler, batch=7)
    assert all(np.array_equal(whole[k], parts[k]) for k in whole)
    order = np.random.default_rng(0).permutation(40)
    labels, seeds = (whole[k][order] for k in ("labels", "seeds"))
    shuffled = tokens(ar, sampler, labels, seeds)
    assert np.array_equal(shuffled.numpy(), whole["tokens"][order])
    fewer = generate(ar, 10, dataclasses.replace(sampler, images=9))
    assert np.array_equal(fewer["tokens"], whole["tokens"][:9])
    assert len(np.unique(whole["tokens"], axis=0)) > 30
    assert not np.array_equal(
        generate(ar, 10, dataclasses.replace(sampler, seed=4))["tokens"], whole["tokens"]
    )


def test_what_is_stored(ar):
    found = generate(ar, 10, Sampler(5, seed=2))
    assert {k: (v.shape, v.dtype.name) for k, v in found.items()} == {
        "tokens": ((5, 16), "int32"),
        "labels": ((5,), "int32"),
        "seeds": ((5,), "int64"),
    }
    assert found["seeds"].tolist() == [2_000_000_000 + i for i in range(5)]


def test_labels_are_balanced_or_uniform():
    labels, _ = generation.requests(Sampler(25, labels="balanced"), 10)
    assert labels.tolist() == [i % 10 for i in range(25)]
    labels, _ = generation.requests(Sampler(20000), 10)
    counts = np.bincount(labels, minlength=10)
    assert len(counts) == 10 and scipy.stats.chisquare(counts).pvalue > 0.01
    assert counts.std() > 1  # drawn, not dealt
    assert not np.array_equal(labels, generation.requests(Sampler(20000, seed=1), 10)[0])


# files and mistakes


@pytest.mark.parametrize(
    "options",
    [{"images": 0}, {"images": 4, "temperature": 0.0}, {"images": 4, "top_p": 0.0},
     {"images": 4, "top_p": 1.5}],
)  # fmt: skip
def test_an_impossible_sampler_is_refused(options):
    with pytest.raises(ValueError, match="correct the sampler in the study's file"):
        Sampler(**options)


def test_tokens_of_another_tokenizer_are_refused(smoke_settings, tiny_networks):
    tokenizer = tiny_networks.tokenizer(smoke_settings())
    images = decode(tokenizer, np.zeros((5, 16), np.int32), batch=2)
    assert images.shape == (5, 1, 16, 16) and images.dtype == torch.uint8
    with pytest.raises(ValueError) as error:
        decode(tokenizer, np.full((1, 16), 16))
    assert str(error.value) == (
        "the samples hold token 16, but this tokenizer has 16 codes; they were drawn for another "
        "tokenizer."
    )


def test_equal_samples_are_equal_bytes(ar, tmp_path):
    drawn = generate(ar, 10, Sampler(5))
    for name in "ab":
        save_arrays(tmp_path / name / "plain.npz", drawn)
    assert (tmp_path / "a/plain.npz").read_bytes() == (tmp_path / "b/plain.npz").read_bytes()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["plain.npz"]
    loaded = load_samples(tmp_path / "a/plain.npz")
    assert all(np.array_equal(loaded[k], drawn[k]) for k in drawn)


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_torn_samples_file_is_named(ar, tmp_path, share):
    path = tmp_path / "plain.npz"
    save_arrays(path, generate(ar, 10, Sampler(5)))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"plain.npz is no complete .npz file .* draw again\.$"):
        load_samples(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"run.json is missing; make it with Snakemake or pull"):
        load_ar(tmp_path)
