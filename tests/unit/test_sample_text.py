"""gear sample, gear likelihood and gear.load of texts, on a tiny checkpoint of random weights."""

import json
import shutil

import encoders
import numpy as np
import pytest
import texts
import torch
import torch.nn.functional as F
from commands import gear, refused
from PIL import Image
from pytest import approx

import gear as api
from gear.files.hashes import sha256
from gear.sampling import batches
from gear.sampling import texts as asked_texts
from gear.sampling.generate import Sampler, draw
from gear.t2i.text import load_encoder

PROMPTS = ["a bold seven", "a thin handwritten nine leaning left", "日本"]


@pytest.fixture
def home(tmp_path, smoke_settings, tiny_networks, encoder_folder):
    return texts.made(tmp_path, smoke_settings, tiny_networks, encoder_folder)


@pytest.fixture
def model(home):
    return api.load(home.t2i, device="cpu")


def sample(home, **options):
    common = {"checkpoint": home.t2i, "output": home.path / "grid.png", "count": 2}
    gear("sample", **(common | options))


def said(home, command="sample", **options):
    common = {"checkpoint": home.t2i, "output": home.path / "grid.png", "prompt": "a"}
    merged = {k: v for k, v in (common | options).items() if v is not None}
    return refused(command, **merged)


def listed(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def lines(path, *entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


# ---- in Python -----------------------------------------------------------------------------------


def test_tokens_are_those_of_a_plain_draw(home, model):
    options = {"guidance": 4.0, "top_k": 9, "temperature": 1.1}
    drawn = model.sample_with_tokens(
        prompts=PROMPTS, count=2, negative="a thin six", seed=5, **options
    )
    assert drawn.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(set(drawn.seeds.tolist())) == 6
    encoder = load_encoder(home.encoder, home.settings.text)
    null = home.ar.condition(encoder(["a thin six"]))
    for i in range(6):
        prefix = home.ar.condition(encoder([PROMPTS[i // 2]]))
        seeds = drawn.seeds[i : i + 1].numpy()
        alone = draw(home.ar, prefix, seeds, Sampler(1, **options), null)
        assert torch.equal(drawn.tokens[i], alone[0])


def test_images_do_not_depend_on_the_batch_or_on_other_prompts(model):
    wanted = model.sample_with_tokens(prompts=PROMPTS, count=3, guidance=2.0)
    for batch in (1, 4, 64):
        found = model.sample_with_tokens(prompts=PROMPTS, count=3, guidance=2.0, batch=batch)
        assert all(map(torch.equal, wanted, found))
    alone = model.sample(prompts=PROMPTS[1], count=1, guidance=2.0)
    assert torch.equal(alone[0], wanted.images[3])
    other = model.sample(prompts=PROMPTS, count=3, guidance=2.0, seed=1)
    assert not torch.equal(other, wanted.images)


def test_a_prompt_that_is_named_twice_goes_on(model):
    twice = model.sample_with_tokens(prompts=["a", "b", "a"], count=2)
    once = model.sample_with_tokens(prompts=["a"], count=4)
    assert torch.equal(twice.tokens[[0, 1, 4, 5]], once.tokens)
    assert twice.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_the_prompt_and_the_negative_prompt_matter(model):
    def tokens(prompt, **options):
        drawn = model.sample_with_tokens(prompts=[prompt], count=8, guidance=4.0, **options)
        return drawn.tokens

    # equal seeds, so that only the words differ
    original = asked_texts.seeds
    asked_texts.seeds = lambda found, count, seed: original(["x"], count, seed)
    try:
        assert not torch.equal(tokens("a bold six"), tokens("a thin nine"))
        assert not torch.equal(tokens("a bold six"), tokens("a bold six", negative="a thin six"))
    finally:
        asked_texts.seeds = original


def test_the_batch_that_fits(model, monkeypatch):
    one = batches.bytes_of_one(model.ar, 24, True)
    assert one > batches.bytes_of_one(model.ar, 24, False)
    for room, batch in ((0, 1), (1.7, 1), (5.1, 2), (1e9, 256)):
        monkeypatch.setattr(batches, "free", lambda _, room=room: room * one)
        assert batches.fitting(model.ar, 24, True) == batch
    monkeypatch.undo()
    assert batches.free(torch.device("cpu")) > 2**20


def test_likelihood_of_texts(home, model):
    tokens = torch.randint(0, 16, (5, 16))
    captions = [*PROMPTS, "", PROMPTS[0]]
    encoder, total = load_encoder(home.encoder, home.settings.text), 0.0
    with torch.no_grad():
        for row, caption in zip(tokens, captions, strict=True):
            prefix = home.ar.condition(encoder([caption]))
            logits, _ = home.ar(home.ar.embedding(row[None, :-1]), prefix)
            total += F.cross_entropy(logits[0], row).item() / 5
    assert model.likelihood(tokens, captions=captions) == approx(total, rel=1e-5)
    one = model.likelihood(tokens, captions="a")
    assert one == approx(model.likelihood(tokens, captions=["a"] * 5), rel=1e-6) != total


def test_classes_and_texts_are_told_apart(home, model):
    classes = api.load(home.joint, device="cpu")
    for call, sentence in (
        (lambda: classes.sample(prompts=["a"]), "reads classes and no texts; name classes in"),
        (lambda: model.sample([3]), "reads texts and no classes; name prompts in place"),
        (lambda: model.sample(), "name either `classes` or prompts"),
        (lambda: model.sample([3], prompts=["a"]), "name either `classes` or prompts"),
        (lambda: classes.likelihood(torch.zeros(1, 16), captions="a"), "reads classes and no"),
        (lambda: model.likelihood(torch.zeros(1, 16), 3), "reads texts and no classes"),
        (lambda: model.likelihood(torch.zeros(1, 16)), "name either `classes` or `captions`"),
        (lambda: model.sample(prompts=[]), "`prompts` is empty"),
        (lambda: model.sample(prompts=["a", " "]), "prompt 2 is empty"),
        (lambda: model.sample(prompts=[3]), "prompt 1 is the number 3 and no text"),
        (lambda: model.sample(prompts=["\ud800"]), "prompt 1 holds half of a character"),
        (lambda: model.sample(prompts=["a"], batch=0), "`batch` is 0; it must be 1 to"),
        (lambda: api.load(home.joint, text_encoder=home.encoder), "reads classes and no texts"),
        (lambda: api.load(home.t2i, text_encoder=" "), "`text_encoder` is empty"),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert sentence in str(error.value) and "\n" not in str(error.value)


# ---- gear sample ---------------------------------------------------------------------------------


def test_a_grid_has_a_row_per_prompt(home, model, capsys):
    file = home.path / "p.txt"
    file.write_text("\n".join(PROMPTS) + "\n")
    sample(home, prompts=file, tokens=home.path / "t.npz", guidance=4, negative_prompt="six")
    assert "grid.png: 3 prompts, from top to bottom, 2 pictures each" in capsys.readouterr().out
    images = model.sample(prompts=PROMPTS, count=2, guidance=4.0, negative="six")
    with Image.open(home.path / "grid.png") as picture:
        grid, told = np.asarray(picture), picture.text
    assert grid.shape == (3 * 64, 2 * 64)
    assert np.array_equal(grid[::4, ::4][16:32, :16], images[2, 0])
    assert told["prompt"] == "\n".join(PROMPTS) and told["negative_prompt"] == "six"
    with np.load(home.path / "t.npz") as found:
        assert found["prompts"].tolist() == [0, 0, 1, 1, 2, 2]
        assert str(found["tokenizer"]) == sha256(home.vq / "weights.safetensors")


def test_a_folder_has_a_file_per_picture(home, model):
    file = lines(home.path / "p.jsonl", {"key": "b", "caption": "日本"}, {"key": 7, "prompt": "x"})
    sample(home, prompts=file, output=home.path / "out", seed=3, batch=3)
    assert listed(home.path / "out") == ["7-0.png", "7-1.png", "b-0.png", "b-1.png"]
    images = model.sample(prompts=["日本", "x"], count=2, seed=3)
    with Image.open(home.path / "out/b-1.png") as picture:
        assert np.array_equal(picture, images[1, 0])
        assert picture.text == {
            "prompt": "日本",
            "number": "1",
            "seed": "3",
            "guidance": "1.0",
            "temperature": "1.0",
            "top_k": "0",
            "top_p": "1.0",
            "precision": "fp32",
            "checkpoint_sha256": sha256(home.t2i / "weights.safetensors"),
            "tokenizer_sha256": sha256(home.vq / "weights.safetensors"),
        }
    assert "holds files; name another folder, or add --force" in said(
        home, output=home.path / "out"
    )
    sample(home, prompts=file, output=home.path / "out", seed=4, force=True)


def test_genevals_folder(home, model):
    entries = [
        {"tag": "counting", "include": [{"class": "dog", "count": 2}], "prompt": "two dogs"},
        {"tag": "color", "prompt": "a red bus"},
        {"tag": "single", "prompt": "ein Bär"},
    ]
    file = lines(home.path / "p.jsonl", *entries)
    sample(home, prompts=file, output=home.path / "out", folders="geneval", count=4, guidance=2)
    numbers = [f"{n:05d}.png" for n in range(4)]
    assert listed(home.path / "out") == sorted(
        [f"0000{i}/{name}" for i in range(3)
         for name in ("metadata.jsonl", *(f"samples/{n}" for n in numbers))]
    )  # fmt: skip
    images = model.sample(prompts=[e["prompt"] for e in entries], count=4, guidance=2.0)
    for index, entry in enumerate(entries):
        text = (home.path / f"out/0000{index}/metadata.jsonl").read_text()
        assert text.count("\n") == 1 and json.loads(text) == entry
        for n, name in enumerate(numbers):
            small = Image.fromarray(images[4 * index + n, 0].numpy()).convert("RGB")
            with Image.open(home.path / f"out/0000{index}/samples/{name}") as picture:
                assert picture.size == (512, 512) and picture.mode == "RGB"
                wanted = small.resize((512, 512), Image.Resampling.BICUBIC)
                assert np.array_equal(picture, wanted)


def test_dpgs_folder(home, model):
    entries = [{"key": f"COCO_{i}", "prompt": text} for i, text in enumerate(PROMPTS)]
    file = lines(home.path / "p.jsonl", *entries)
    sample(home, prompts=file, output=home.path / "out", folders="dpg", count=4, batch=3)
    assert listed(home.path / "out") == [f"COCO_{i}.png" for i in range(3)]
    images = model.sample(prompts=PROMPTS, count=4)
    for index in range(3):
        with Image.open(home.path / f"out/COCO_{index}.png") as picture:
            assert picture.size == (1024, 1024) and picture.mode == "RGB"
            assert picture.text["prompt"] == PROMPTS[index] and picture.text["number"] == "0 to 3"
            for n in range(4):
                left, top = n % 2 * 512, n // 2 * 512
                tile = picture.crop((left, top, left + 512, top + 512))
                small = Image.fromarray(images[4 * index + n, 0].numpy()).convert("RGB")
                assert np.array_equal(tile, small.resize((512, 512), Image.Resampling.BICUBIC))


def test_what_dpg_refuses(home):
    file = lines(home.path / "p.jsonl", {"key": "a", "prompt": "x"}, {"prompt": "y"})
    out = {"prompt": None, "prompts": file, "folders": "dpg", "output": home.path / "out"}
    assert "--count is 2, but a mosaic of dpg has 4 pictures" in said(home, **out, count=2)
    assert "prompt 2 has none; give a .jsonl of {key, prompt} with --prompts" in said(home, **out)
    assert not (home.path / "out").exists()


def test_likelihood_of_a_file(home, capsys):
    file = home.path / "p.txt"
    file.write_text("\n".join(PROMPTS) + "\n")
    sample(home, prompts=file, tokens=home.path / "t.npz", temperature=0.3)
    common = {"checkpoint": home.t2i, "tokens": home.path / "t.npz"}
    gear("likelihood", **common, captions=file, json=True)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    with np.load(home.path / "t.npz") as drawn:
        captions = [text for text in PROMPTS for _ in range(2)]
        wanted = api.load(home.t2i, device="cpu").likelihood(drawn["tokens"], captions=captions)
    assert found["images"] == 6 and found["ntp"] == approx(wanted, rel=1e-6)
    assert "reads texts; name the file of the images' --captions" in refused("likelihood", **common)
    assert "reads texts and no classes" in refused("likelihood", **common, **{"class": 3})
    file.write_text("a\n")
    assert "t.npz is of 3 prompts, but" in refused("likelihood", **common, captions=file)
    with np.load(home.path / "t.npz") as drawn:
        np.savez(home.path / "plain.npz", tokens=drawn["tokens"])
    common["tokens"] = home.path / "plain.npz"
    file.write_text("a\nb\n")
    assert "there are 2 captions for 6 images" in refused("likelihood", **common, captions=file)
    joint = common | {"checkpoint": home.joint, "captions": file}
    assert "reads classes; leave --captions out" in refused("likelihood", **joint)


def test_classes_and_prompts_are_told_apart(home):
    assert "reads classes and no texts" in said(home, checkpoint=home.joint)
    classes = {"prompt": None, "classes": "3"}
    assert "reads texts and no classes" in said(home, **classes)
    assert "one of --classes, --prompt and --prompts" in said(home, prompt=None)
    assert "one of --classes, --prompt and --prompts" in said(home, classes="3")
    for name, value in (("negative_prompt", "a"), ("folders", "dpg"), ("text_encoder", "x")):
        found = said(home, checkpoint=home.joint, **classes, **{name: value})
        assert found.startswith(f"--{name.replace('_', '-')} is for prompts")
    assert not (home.path / "grid.png").exists()


def test_other_mistakes(home):
    assert "prompt 1 is empty" in said(home, prompt=" ")
    assert "--aspect is '16:9', but only squares are drawn" in said(home, aspect="16:9")
    assert "--batch is 0" in said(home, batch=0)
    (home.path / "file").touch()
    assert "is a file; name a folder" in said(home, output=home.path / "file")
    assert not (home.path / "grid.png").exists()


def test_a_long_prompt_is_cut_and_said(home, capsys):
    sample(home, prompt="seven " * 2000)
    err = capsys.readouterr().err
    assert "prompt 000000 has more than 10,000 characters (1 such)" in err
    assert err.count("cut to text.slots, 24") == 1


def test_a_failed_command_leaves_nothing(home, monkeypatch):
    def broken(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr("gear.cli.pictures.scaled", broken)
    file = lines(home.path / "p.jsonl", {"key": "a", "prompt": "x"})
    options = {"prompt": None, "prompts": file, "output": home.path / "out", "folders": "geneval"}
    assert "the disk is gone" in said(home, **options)
    assert listed(home.path / "out") == []


# ---- the text encoder of a checkpoint ------------------------------------------------------------


def test_the_encoder_of_moved_results_is_found(home, monkeypatch):
    wanted = api.load(home.t2i, device="cpu").sample(prompts="a", count=2)
    moved = home.root.rename(home.path / "moved")
    found = api.load(moved / "t2i/gear-t2i/390k", device="cpu").sample(prompts="a", count=2)
    assert torch.equal(found, wanted)
    shutil.move(moved / "text_encoder", home.path / "elsewhere")
    there = {"text_encoder": home.path / "elsewhere", "device": "cpu"}
    named = api.load(moved / "t2i/gear-t2i/390k", **there).sample(prompts="a", count=2)
    assert torch.equal(named, wanted)
    model = api.load(moved / "t2i/gear-t2i/390k", device="cpu")
    with pytest.raises(ValueError, match="is not there; name its folder with `text_encoder`"):
        model.sample(prompts="a")


def test_an_encoder_that_is_not_the_trainings(home, tmp_path):
    assert "none is not there" in said(home, text_encoder=tmp_path / "none")
    other = encoders.write(tmp_path / "other", seed=9)
    assert "model.safetensors has another sha256; leave --text-encoder out" in said(
        home, text_encoder=other
    )
    bare = shutil.copytree(home.encoder, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    assert "has no tokenizer" in said(home, text_encoder=bare)
    wide = shutil.copytree(home.encoder, tmp_path / "wide")
    record = json.loads((wide / "config.json").read_text())
    (wide / "config.json").write_text(json.dumps(record | {"hidden_size": 32}))
    assert "width 32, but text.width is 64" in said(home, text_encoder=wide)
    (home.encoder / "tokenizer.json").write_text("{}")
    assert "is not there; name its folder with --text-encoder" in said(home)
