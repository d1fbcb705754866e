"""The text encoder: its features are those of the padded run, without the padding.

The other side is transformers' own: all captions padded on the right to `slots`, with its mask. The
weights are random and large, so that attention is not nearly uniform.
"""

import json
import shutil

import encoders
import pytest
import torch
from safetensors.torch import load_file, save_file

from gear import config
from gear.t2i.text import TextEncoder, load_encoder

TEXT = config.Text(**encoders.TEXT)
SLOTS = encoders.SLOTS
LONG = "nine zebras, " * 40  # fills all slots
MIXED = ["", "a", "a thin nine", encoders.CAPTIONS[0], LONG, "日本語 \x00", "two\n\nlines"]


@pytest.fixture(scope="module")
def encoder(encoder_folder):
    return load_encoder(encoder_folder, TEXT)


@pytest.fixture(scope="module")
def sharp(encoder):
    """As `encoder`, with matrices ten times as large."""
    from transformers import AutoModel

    network = AutoModel.from_config(encoder.network.config, attn_implementation="sdpa")
    network.load_state_dict(encoder.network.state_dict())
    for weights in network.parameters():
        if weights.ndim == 2:
            weights.data *= 10
    return TextEncoder(network, encoder.tokenizer, encoder.pad, SLOTS)


@pytest.fixture(scope="module")
def folder(encoder_folder, tmp_path_factory):
    """A function of a name that copies the encoder's folder, to be damaged."""

    def copy(name):
        return shutil.copytree(encoder_folder, tmp_path_factory.mktemp("damaged") / name)

    return copy


@torch.no_grad()
def padded(encoder, captions):
    """(features (B, slots, C), counts) of the published way: padding to all slots."""
    ids = encoder.tokens(captions)
    rows = [each + [encoder.pad] * (SLOTS - len(each)) for each in ids]
    counts = torch.tensor([len(each) for each in ids])
    mask = (torch.arange(SLOTS) < counts[:, None]).long()
    states = encoder.network(input_ids=torch.tensor(rows), attention_mask=mask).last_hidden_state
    return states, counts.tolist()


@pytest.mark.parametrize("batch", [MIXED, MIXED[:2], [""], [LONG], ["", LONG], [MIXED[3]] * 2])
def test_features_are_those_of_the_padded_run(sharp, batch):
    wanted, counts = padded(sharp, batch)
    found = sharp(batch)
    assert found.features_BPC.shape[1] == min(SLOTS, max(counts) + 1)
    assert found.features_BPC.dtype == torch.float32 and found.visible_BP.dtype == torch.bool
    for row, count in enumerate(counts):
        assert torch.allclose(found.features_BPC[row, :count], wanted[row, :count], atol=1e-5)
        assert torch.allclose(found.features_BPC[row, -1], wanted[row, -1], atol=1e-5)
        visible = [slot < count for slot in range(found.features_BPC.shape[1])]
        assert found.visible_BP[row].tolist() == visible


def test_the_last_slot_knows_the_caption(sharp):
    """It predicts the first token of the image; what padding holds besides is read by nobody."""
    last = sharp(["", "a thin nine", "a bold six"]).features_BPC[:, -1]
    for one, other in ((0, 1), (1, 2)):
        assert (last[one] - last[other]).abs().max() > 0.1


def test_the_empty_caption_has_one_slot_and_finite_features(sharp):
    found = sharp([""])
    assert found.features_BPC.shape == (1, 1, encoders.WIDTH) and not found.visible_BP.any()
    assert found.features_BPC.isfinite().all() and found.features_BPC.abs().max() > 0.1


def test_features_do_not_depend_on_the_batch(sharp):
    together = sharp(MIXED)
    for row, caption in enumerate(MIXED):
        alone = sharp([caption])
        count = int(alone.visible_BP.sum())
        both = together.features_BPC[row]
        assert torch.allclose(both[:count], alone.features_BPC[0, :count], rtol=1e-6, atol=2e-6)
        assert torch.allclose(both[-1], alone.features_BPC[0, -1], rtol=1e-6, atol=2e-6)


def test_tokens_are_those_of_transformers(encoder, encoder_folder):
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(encoder_folder)
    found = other(MIXED, truncation=True, max_length=SLOTS)["input_ids"]
    assert found == encoder.tokens(MIXED)
    assert other.pad_token_id == encoder.pad and other.padding_side == "right"
    assert all(encoder.tokenizer.decode(ids) == text
               for ids, text in zip(found, MIXED, strict=True) if text != LONG)  # fmt: skip


def test_a_long_caption_is_cut_and_said_once(encoder_folder, capsys):
    encoder = load_encoder(encoder_folder, TEXT)
    cut = encoder([LONG]).features_BPC
    encoder([LONG + " and more", "a"])
    said = capsys.readouterr().err
    assert said.count("cut to text.slots, 24 (said once)") == 1
    assert torch.equal(encoder([LONG + " and more"]).features_BPC, cut)


def test_half_a_surrogate_pair_is_read(encoder):
    assert encoder(["\ud800 three"]).features_BPC.isfinite().all()


def test_weights_are_frozen_and_bf16_is_near(encoder, encoder_folder):
    assert not any(weights.requires_grad for weights in encoder.network.parameters())
    assert not encoder.network.training
    low = load_encoder(encoder_folder, TEXT, "bf16")
    assert next(low.network.parameters()).dtype == torch.bfloat16
    found, wanted = (each(MIXED).features_BPC for each in (low, encoder))
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).abs().max() < 0.2  # states have a standard deviation of 1


def test_it_names_its_files(encoder, encoder_folder):
    record = json.loads((encoder_folder / "run.json").read_text())
    assert set(encoder.sha256) == {"model.safetensors", "tokenizer.json"}
    assert encoder.sha256.items() <= record["files"].items()
    assert (encoder.width, encoder.slots) == (encoders.WIDTH, SLOTS)


# ---- folders that are refused --------------------------------------------------------------------


def refused(path, text=TEXT):
    with pytest.raises(ValueError) as error:
        load_encoder(path, text)
    said = str(error.value)
    assert type(error.value).__name__ == "Mistake" and "\n" not in said and said.endswith(".")
    return said


def edited(path, **changes):
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | changes))


def test_an_absent_folder_or_one_of_something_else(tmp_path, encoder_folder):
    assert "none is not there; name the folder" in refused(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "is no text encoder" in refused(tmp_path / "empty")
    assert "is not there" in refused(encoder_folder / "config.json")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_no_tokenizer(folder, name):
    path = folder("untold")
    (path / name).unlink()
    assert f"has no tokenizer: {name} is missing" in refused(path)


def test_a_broken_tokenizer(folder):
    path = folder("torn")
    (path / "tokenizer.json").write_text("{")
    assert "tokenizer.json is no tokenizer" in refused(path)
    path = folder("padless")
    edited(path / "tokenizer_config.json", pad_token=None)
    assert "names no pad_token" in refused(path)
    edited(path / "tokenizer_config.json", pad_token="<|pad|>")
    assert "have no pad token '<|pad|>'" in refused(path)


def test_another_width(encoder_folder):
    said = refused(encoder_folder, config.Text(slots=SLOTS, width=2048))
    assert "features of width 64, but text.width is 2048" in said


def test_other_kinds_of_models(folder):
    path = folder("vision")
    edited(path / "config.json", vision_config={}, model_type="qwen3_vl")
    assert "has 'vision_config'" in refused(path) and "language model alone" in refused(path)
    path = folder("bert")
    edited(path / "config.json", model_type="bert")
    assert "model_type 'bert'; a text encoder is one of qwen3" in refused(path)


def test_weights_that_are_missing_pickled_torn_or_of_another_network(folder):
    path = folder("bare")
    weights = path / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    assert "has no weights" in refused(path)
    (path / "pytorch_model.bin").write_bytes(b"x")
    assert "only pytorch_model.bin, which may hold code" in refused(path)
    weights.write_bytes(content[:-100])
    assert "cannot be read" in refused(path)
    weights.write_bytes(content)
    tensors = load_file(weights)
    save_file({**tensors, "more": torch.zeros(1)}, weights, metadata={"format": "pt"})
    assert "do not fit its config.json (first: 'more')" in refused(path)
    gone = tensors.pop("norm.weight")
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "(first: 'norm.weight')" in refused(path)
    save_file(tensors | {"norm.weight": gone[:9].clone()}, weights, metadata={"format": "pt"})
    assert "text encoder" in refused(path)
    save_file(tensors | {"norm.weight": gone * torch.nan}, weights, metadata={"format": "pt"})
    assert "not finite" in refused(path)


def test_shards_without_their_index(folder):
    path = folder("shards")
    (path / "model.safetensors").rename(path / "model-00001-of-00002.safetensors")
    assert "model.safetensors.index.json" in refused(path)
    index = {"weight_map": {"norm.weight": "model-00002-of-00002.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002.safetensors, which it names" in refused(path)
