"""Drawing from captions: what the pictures depend on, and what the samples say of themselves."""

import captioned
import encoders
import numpy as np
import pytest
import torch

from gear.sampling.conditions import Captions
from gear.sampling.generate import Sampler, draw_all, generate_captions, record_of, seeds_of
from gear.t2i.text import load_encoder

CAPTIONS = [captioned.caption(n) for n in range(6)] + ["", "7", "nine " * 30]  # one is cut
PLAIN = Sampler(images=len(CAPTIONS))
GUIDED = Sampler(images=len(CAPTIONS), guidance=2.5, temperature=0.9, top_k=9, top_p=0.95)


@pytest.fixture(scope="module")
def encoder(encoder_folder):
    return load_encoder(encoder_folder, captioned.TEXT)


@pytest.fixture(scope="module", params=["zero", "identity"])
def ar(request, smoke_settings, tmp_path_factory):
    changes = captioned.changes(tmp_path_factory.mktemp("none"))
    return captioned.ar(smoke_settings("gear-t2i", **changes, **{"ar.prefix_rope": request.param}))


def drawn(ar, encoder, captions, seeds, sampler, batch=256, **options):
    return draw_all(ar, Captions(ar, encoder, captions, **options), seeds, sampler, batch)


@pytest.mark.parametrize("sampler", [PLAIN, GUIDED], ids=["plain", "guided"])
def test_pictures_depend_on_their_caption_and_seed_alone(ar, encoder, sampler):
    """Not on the batch, nor on the order and the lengths of the other captions."""
    seeds = seeds_of(sampler)
    found = drawn(ar, encoder, CAPTIONS, seeds, sampler)
    for batch in (1, 2, 4):
        assert np.array_equal(found, drawn(ar, encoder, CAPTIONS, seeds, sampler, batch))
    order = np.random.default_rng(0).permutation(len(CAPTIONS))
    mixed = drawn(ar, encoder, [CAPTIONS[n] for n in order], seeds[order], sampler, 4)
    assert np.array_equal(mixed, found[order])
    short = [0, 3, 7]  # without the long captions
    alone = drawn(ar, encoder, [CAPTIONS[n] for n in short], seeds[short], sampler)
    assert np.array_equal(alone, found[short])


def test_another_caption_or_seed_is_another_picture(ar, encoder):
    seeds = np.zeros(len(CAPTIONS), np.int64)
    found = drawn(ar, encoder, CAPTIONS, seeds, PLAIN)
    assert len(np.unique(found, axis=0)) >= len(CAPTIONS) - 1
    other = drawn(ar, encoder, CAPTIONS, seeds + 1, PLAIN)
    assert (found != other).any(1).all()


def test_guidance_is_the_difference_from_the_negative_text(ar, encoder):
    """Against the full forward passes; the empty caption is the negative text that is left out."""
    captions, negative = CAPTIONS[:4], "a bold zero"
    sampler = Sampler(images=4, guidance=3.0, top_k=1)
    for options in ({}, {"negative": negative}):
        tokens = torch.from_numpy(drawn(ar, encoder, captions, np.arange(4), sampler, **options))
        with torch.no_grad():
            u = ar.embedding(tokens.long()[:, :-1])
            cond = ar(u, ar.condition(encoder(captions)))[0]
            uncond = ar(u, ar.condition(encoder([options.get("negative", "")] * 4)))[0]
        assert torch.equal((uncond + 3.0 * (cond - uncond)).argmax(-1), tokens)


def test_a_negative_text_that_is_the_caption_leaves_no_guidance(ar, encoder):
    captions, seeds = [CAPTIONS[1]] * 5, np.arange(5)
    guided = Sampler(images=5, guidance=8.0)
    without = drawn(ar, encoder, captions, seeds, Sampler(images=5))
    assert np.array_equal(
        drawn(ar, encoder, captions, seeds, guided, negative=CAPTIONS[1]), without
    )
    assert not np.array_equal(drawn(ar, encoder, captions, seeds, guided), without)


def test_samples_keep_the_number_of_their_prompt(ar, encoder):
    sampler = Sampler(images=6, seed=2)
    found = generate_captions(ar, encoder, CAPTIONS[:3], sampler, batch=4)
    assert found["prompts"].tolist() == [0, 0, 1, 1, 2, 2] and found["prompts"].dtype == np.int32
    assert found["seeds"].tolist() == [2_000_000_000 + n for n in range(6)]
    of_each = [caption for caption in CAPTIONS[:3] for _ in range(2)]
    assert np.array_equal(found["tokens"], drawn(ar, encoder, of_each, found["seeds"], sampler))
    assert found["tokens"].shape == (6, 16) and found["tokens"].dtype == np.int32
    again = generate_captions(ar, encoder, CAPTIONS[:3], sampler, np.array([5, 6] * 3))
    assert again["seeds"].tolist() == [5, 6] * 3
    assert np.array_equal(
        again["tokens"], drawn(ar, encoder, of_each, np.array([5, 6] * 3), sampler)
    )


@pytest.mark.parametrize("images", [1, 2, 4])
def test_images_that_are_no_multiple_of_the_prompts_are_refused(ar, encoder, images):
    with pytest.raises(ValueError, match=f"has {images} images for 3 prompts; set a multiple"):
        generate_captions(ar, encoder, CAPTIONS[:3], Sampler(images=images))


def test_a_record_says_how_the_images_were_drawn():
    sampler = Sampler(images=6, guidance=1.75, temperature=0.8, top_k=7, top_p=0.9, seed=4)
    found = record_of(sampler, ["a", "b", "c"])
    digest = found.pop("prompts_sha256")
    assert found == {
        "guidance": 1.75,
        "temperature": 0.8,
        "top_k": 7,
        "top_p": 0.9,
        "images": 2,  # of a prompt
        "seed": 4,
        "prompts": 3,
    }
    assert digest == "ea7fb08b7a2dc4619ffb7c7bb38d95a2047935fa165d71b12efd3852a2e6d0cc"
    others = [["a", "b", "d"], ["b", "a", "c"], ["a", "b"]]
    assert all(record_of(sampler, each)["prompts_sha256"] != digest for each in others)
    record_of(sampler, ["half \ud83d of a pair", "nothing\x00"])  # JSON can hold them


def test_captions_of_any_script_can_be_drawn(ar, encoder):
    odd = [
        "日本語",
        "half \ud83d of a pair",
        "nothing\x00",
        "عدد",
        "x" * 10_000,
        *encoders.DIGITS[:1],
    ]
    found = generate_captions(ar, encoder, odd, Sampler(images=6))
    assert found["tokens"].shape == (6, 16)
