"""The stand-in encoder and the import of a pretrained one.

The hub is pretended: what it would return is a folder of random weights in the same files.
"""

import json
import shutil
import sys

import captioned
import encoders
import pytest
import torch
from safetensors.torch import load_file, save_file

from gear import config
from gear.files.hashes import sha256
from gear.t2i import text_import, text_standin
from gear.t2i.text import load_encoder
from gear.t2i.text_folder import MODULES

TEXT = config.Text(**encoders.TEXT)
FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
REVISION = "a" * 40
HUB = {"repo": "them/encoder"}


def spec(path, **more):
    return {"kind": "pretrained", "label": "Qwen3-tiny", "weights": str(path)} | more


def features(folder):
    return load_encoder(folder, TEXT)(["", *encoders.CAPTIONS[:3]]).features_BPC


def record(folder):
    return json.loads((folder / "run.json").read_text())


def imported(tmp_path, given, name="imported"):
    text_import.import_encoder(given, encoders.TEXT, tmp_path / name)
    return tmp_path / name


def refused(tmp_path, given):
    with pytest.raises(ValueError) as error:
        imported(tmp_path, given, "refused")
    assert type(error.value).__name__ == "Mistake" and "\n" not in str(error.value)
    assert not list((tmp_path / "refused").glob("*"))
    return str(error.value)


# ---- the stand-in --------------------------------------------------------------------------------


def test_the_stand_in_is_a_function_of_captions_and_spec(tmp_path, encoder_folder):
    again = encoders.write(tmp_path / "again")
    other = encoders.write(tmp_path / "other", seed=4)
    assert sorted(path.name for path in again.iterdir()) == sorted([*FILES, "run.json"])
    for name in FILES:
        assert (again / name).read_bytes() == (encoder_folder / name).read_bytes()
    same = [(other / n).read_bytes() == (again / n).read_bytes() for n in FILES]
    assert same == [True, False, True, True]


def test_its_tokenizer_knows_the_captions_words(encoder_folder):
    encoder = load_encoder(encoder_folder, TEXT)
    counts = [len(ids) for ids in encoder.tokens(encoders.CAPTIONS)]
    assert max(counts) == 6  # a word is a token
    assert len(encoder.tokens(["qux"])[0]) == 3  # others are spelled in bytes
    assert encoder.tokenizer.get_vocab_size() <= 320


def test_its_record_says_what_it_is(encoder_folder):
    found = record(encoder_folder)
    assert found["kind"] == "standin" and found["label"].startswith("stand-in")
    assert found["files"] == {name: sha256(encoder_folder / name) for name in FILES}


def test_the_job_reads_the_training_captions(tmp_path, monkeypatch):
    manifest = captioned.shards(tmp_path)
    assert text_standin.train_captions(manifest) == [captioned.caption(n) for n in range(20)]
    job = json.dumps({"spec": encoders.SPEC, "text": encoders.TEXT})
    options = ["--job", job, "--data", str(manifest), "--output", str(tmp_path / "made")]
    monkeypatch.setattr("sys.argv", ["text_standin", *options])
    text_standin.main()
    assert features(tmp_path / "made").isfinite().all()


def test_its_weights_are_normal():
    values = text_standin.normal((1, "a"), (100, 100))
    assert abs(values.std() - 0.02) < 5e-4 and abs(values.mean()) < 5e-4
    assert not torch.equal(values, text_standin.normal((1, "b"), (100, 100)))


def test_a_warm_process_has_what_an_encoder_imports(encoder_folder):
    load_encoder(encoder_folder, TEXT)
    assert set(MODULES) <= set(sys.modules)


def test_a_stand_in_that_cannot_be(tmp_path):
    with pytest.raises(ValueError, match="heads; change text_encoder.heads"):
        encoders.write(tmp_path, heads=3)
    with pytest.raises(ValueError, match="vocabulary is 200; it must be above 256"):
        encoders.write(tmp_path, vocabulary=200)


# ---- the import ----------------------------------------------------------------------------------


def test_a_local_folder_is_copied(tmp_path, encoder_folder):
    found = imported(tmp_path, spec(encoder_folder))
    assert sorted(path.name for path in found.iterdir()) == sorted([*FILES, "run.json"])
    for name in FILES:
        assert (found / name).read_bytes() == (encoder_folder / name).read_bytes()
    said = record(found)
    assert (said["kind"], said["label"], said["text"]) == (
        "pretrained",
        "Qwen3-tiny",
        encoders.TEXT,
    )
    assert said["files"] == {name: sha256(encoder_folder / name) for name in FILES}
    assert said["source"]["files"].keys() == {"model.safetensors", "tokenizer.json"}
    assert "hub" not in said["source"]


def split(folder, target):
    """The published form: the file of a language model, in shards."""
    shutil.copytree(folder, target)
    weights = target / "model.safetensors"
    tensors = {f"model.{key}": value for key, value in load_file(weights).items()}
    weights.unlink()
    shards = [{}, {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}]
    for number, key in enumerate(sorted(tensors)):
        shards[number % 2][key] = tensors[key]
    places = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-00002.safetensors"
        save_file(shard, target / name, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, name)
    index = {"metadata": {}, "weight_map": places}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    return target


def test_shards_of_a_language_model_become_one_file(tmp_path, encoder_folder):
    shards = split(encoder_folder, tmp_path / "shards")
    assert torch.equal(features(shards), features(encoder_folder))
    found = imported(tmp_path, spec(shards))
    assert sorted(path.name for path in found.iterdir()) == sorted([*FILES, "run.json"])
    assert torch.equal(features(found), features(encoder_folder))
    assert len(record(found)["source"]["files"]) == 3


def test_another_hash_is_refused_and_the_right_one_taken(tmp_path, encoder_folder):
    right = sha256(encoder_folder / "model.safetensors")
    imported(tmp_path, spec(encoder_folder, sha256=right))
    said = refused(tmp_path, spec(encoder_folder, sha256="0" * 64))
    assert right in said and "text_encoder.sha256" in said
    said = refused(tmp_path, spec(encoder_folder, sha256={"tokenizer.json": "0" * 64}))
    assert "tokenizer.json has sha256" in said
    said = refused(tmp_path, spec(encoder_folder, sha256={"model-9.safetensors": "0" * 64}))
    assert "model-9.safetensors is not there" in said


def test_another_width_is_refused(tmp_path, encoder_folder):
    with pytest.raises(ValueError, match="features of width 64, but text.width is 2048"):
        text_import.import_encoder(spec(encoder_folder), {"slots": 9, "width": 2048}, tmp_path)


# ---- the hub -------------------------------------------------------------------------------------


def test_the_hub_is_asked_only_for_a_pinned_folder_that_is_missing(
    tmp_path, encoder_folder, monkeypatch
):
    asked = []

    def download(repo, revision, allow_patterns):
        asked.append((repo, revision))
        assert not any(pattern.endswith((".bin", ".pt", ".py")) for pattern in allow_patterns)
        return str(encoder_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    said = refused(tmp_path, spec(tmp_path / "none", hub=HUB))
    assert "set text_encoder.hub.revision" in said and "them/encoder" in said and not asked
    pinned = spec(tmp_path / "none", hub=HUB | {"revision": REVISION})
    found = imported(tmp_path, pinned)
    assert asked == [("them/encoder", REVISION)]
    assert record(found)["source"]["hub"]["revision"] == REVISION
    imported(tmp_path, spec(encoder_folder, hub=pinned["hub"]), "local")
    assert len(asked) == 1 and "hub" not in record(tmp_path / "local")["source"]
    assert "the study says" in refused(tmp_path, pinned | {"sha256": "0" * 64})


def test_a_missing_folder_without_a_hub(tmp_path):
    said = refused(tmp_path, spec(tmp_path / "none"))
    assert "is missing; put its files there" in said and "text_encoder.weights" in said


def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    said = refused(tmp_path, spec(tmp_path / "none", hub=HUB | {"revision": REVISION}))
    assert "cannot be downloaded (ConnectionError: no route to host)" in said
    assert f"put its files at {tmp_path / 'none'} by hand" in said
