"""gear sample, on a tiny checkpoint with random weights."""

import numpy as np
import torch
from commands import SIDE, pixels, refused, sample, save

from gear.sampling.generate import Sampler, draw


def drawn(path):
    with np.load(path) as file:
        return {name: file[name] for name in ("tokens", "labels", "seeds")}


def test_tokens_are_those_of_a_plain_draw(home):
    sample(home, tokens=home.path / "t.npz", seed=2, top_k=9, top_p=0.9, temperature=1.1)
    found = drawn(home.path / "t.npz")
    assert found["labels"].tolist() == [3, 3, 3, 7, 7, 7]
    assert found["tokens"].shape == (6, 16) and len(set(found["seeds"].tolist())) == 6
    sampler = Sampler(1, guidance=1.5, top_k=9, top_p=0.9, temperature=1.1)
    for i in range(6):  # one image at a time
        label = torch.tensor([int(found["labels"][i])])
        alone = draw(home.ar, home.ar.condition(label), found["seeds"][i : i + 1], sampler)
        assert np.array_equal(found["tokens"][i], alone[0].numpy())


def test_the_precision_is_that_of_the_draw(home):
    options = {"count": 8, "tokens": home.path / "t.npz", "force": True}
    found = {}
    for precision in ("fp32", "bf16"):
        sample(home, precision=precision, **options)
        found[precision] = drawn(home.path / "t.npz")
    labels, seeds = (found["bf16"][name] for name in ("labels", "seeds"))
    prefix = home.ar.condition(torch.from_numpy(labels).long())
    low = draw(home.ar, prefix, seeds, Sampler(1, guidance=1.5, precision="bf16"))
    assert np.array_equal(found["bf16"]["tokens"], low)
    assert not np.array_equal(found["bf16"]["tokens"], found["fp32"]["tokens"])


def test_the_grid_has_a_row_per_class(home):
    sample(home, tokens=home.path / "t.npz")
    tokens = drawn(home.path / "t.npz")["tokens"]
    mode, grid = pixels(home.path / "grid.png")
    times = 64 // SIDE  # small images are enlarged, pixel by pixel
    assert mode == "L" and grid.shape == (2 * 64, 3 * 64)
    assert (grid == grid[::times, ::times].repeat(times, 0).repeat(times, 1)).all()
    grid = grid[::times, ::times]
    for i, row in enumerate(tokens):
        with torch.no_grad():
            expected = home.tokenizer.decode(torch.from_numpy(row)[None].long())[0, 0]
        top, left = i // 3 * SIDE, i % 3 * SIDE
        tile = grid[top : top + SIDE, left : left + SIDE]
        assert np.abs(tile - ((expected + 1) * 127.5).clamp(0, 255).numpy()).max() <= 0.5 + 1e-3


def test_colour_grids(home, smoke_settings, tiny_networks):
    settings = smoke_settings(**{"data.channels": 3})
    tokenizer = tiny_networks.tokenizer(settings).eval()
    save(home.path / "colour", settings, tokenizer=tokenizer, ar=home.ar)
    sample(home, checkpoint=home.path / "colour", tokens=home.path / "t.npz", count=2)
    mode, grid = pixels(home.path / "grid.png")
    with torch.no_grad():
        tokens = torch.from_numpy(drawn(home.path / "t.npz")["tokens"][2:3]).long()
        expected = ((tokenizer.decode(tokens)[0] + 1) * 127.5).clamp(0, 255).permute(1, 2, 0)
    assert mode == "RGB" and grid.shape == (128, 128, 3)
    assert np.abs(grid[::4, ::4][16:, :16] - expected.numpy()).max() <= 0.5 + 1e-3


def test_the_same_seed_gives_the_same_file(home):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        sample(home, tokens=home.path / f"{name}.npz", output=home.path / f"{name}.png", seed=seed)
    a, b, c = ((home.path / f"{x}.npz").read_bytes() for x in "abc")
    assert a == b != c
    assert (home.path / "a.png").read_bytes() == (home.path / "b.png").read_bytes()


def test_an_image_does_not_depend_on_the_others(home, monkeypatch):
    monkeypatch.setattr("gear.model.DRAWN", 2)
    sample(home, tokens=home.path / "small.npz")
    monkeypatch.setattr("gear.model.DRAWN", 64)
    sample(home, tokens=home.path / "large.npz", classes="7,0,3", count=5, force=True)
    small, large = drawn(home.path / "small.npz"), drawn(home.path / "large.npz")
    assert np.array_equal(small["tokens"][3:], large["tokens"][:3])  # class 7
    assert np.array_equal(small["tokens"][:3], large["tokens"][10:13])  # class 3


def test_a_tokenizer_may_be_named(home, smoke_settings, tiny_networks):
    other = tiny_networks.tokenizer(home.settings, seed=5).eval()
    save(home.path / "other", home.settings, tokenizer=other)
    sample(home, output=home.path / "own.png", tokens=home.path / "own.npz")
    for name, tokenizer in (("same", "tokenizer"), ("other", "other")):
        sample(home, checkpoint=home.path / "ar", tokenizer=home.path / tokenizer,
               output=home.path / f"{name}.png", tokens=home.path / f"{name}.npz")  # fmt: skip
    own, same, other = (pixels(home.path / f"{n}.png")[1] for n in ("own", "same", "other"))
    assert np.array_equal(own, same) and not np.array_equal(own, other)
    own, other = (drawn(home.path / f"{name}.npz")["tokens"] for name in ("own", "other"))
    assert np.array_equal(own, other)


def test_a_tokenizer_of_another_resolution_serves(home, smoke_settings, tiny_networks):
    """The frozen tokenizer of the resolution study was trained at 256 pixels."""
    settings = smoke_settings(**{"data.resolution": 24})
    save(home.path / "large", settings, ar=tiny_networks.ar(settings))
    sample(home, checkpoint=home.path / "large", tokenizer=home.path / "tokenizer")
    assert pixels(home.path / "grid.png")[1].shape == (2 * 3 * 24, 3 * 3 * 24)  # 3 times enlarged


def test_sample_mistakes(home, smoke_settings, tiny_networks):
    p = home.path
    good = {"checkpoint": p / "joint", "classes": "3", "output": p / "grid.png"}
    codes, levels = (
        smoke_settings(**{"tokenizer.codebook_size": 32}),
        smoke_settings(**{"tokenizer.multipliers": [1, 2]}),
    )
    save(p / "codes", codes, tokenizer=tiny_networks.tokenizer(codes))
    save(p / "levels", levels, tokenizer=tiny_networks.tokenizer(levels))

    def said(**changes):
        return refused("sample", **(good | changes))

    assert said(classes="3,10") == "class 10 is unknown; the checkpoint has 0 to 9."
    assert said(classes="3,x") == "--classes has 'x'; write class numbers, such as 3,207."
    assert said(classes="3,3") == "--classes has 3 twice; name each class once."
    assert said(output=p / "grid.jpg").endswith("ends in .png, such as grid.png.")
    assert said(checkpoint=p / "tokenizer").startswith(f"{p}/tokenizer holds no weights 'ar'; name")
    assert said(checkpoint=p / "ar").startswith(f"{p}/ar holds no weights 'tokenizer'; name the")
    assert said(checkpoint=p / "none").startswith(f"{p}/none/weights.safetensors is missing;")
    assert said(tokenizer=p / "codes") == (
        f"the AR of {p}/joint reads 16 codes, the tokenizer of {p}/codes makes 32; name the "
        "tokenizer that the AR was trained on."
    )
    assert "reads 16 tokens an image, the tokenizer of" in said(tokenizer=p / "levels")
    assert said(count=0).startswith("--count is 0; it must be 1 to")
    assert said(seed=-1).startswith("--seed is -1; it must be 0 to")
    for wrong in ({"temperature": 0}, {"top_p": 1.5}, {"top_p": 0}, {"top_k": -1}):
        assert said(**wrong).startswith("--temperature must be above 0, --top-p in (0, 1]")
    assert said(guidance="nan") == "--guidance is nan; write a number, such as 1.5."
    assert not (p / "grid.png").exists() and not (p / "grid.jpg").exists()
