"""What the import of a pretrained teacher refuses, and when it asks the hub.

Each file has one planted fault; the sentence must name it, and nothing may be written.
"""

import json
import typing
import zipfile

import pytest
import torch
from vits import DIM, FILES, MLP, SHAPE, Code, clip_l, dinov2, random_state, refused, spec, write

from gear.alignment.teachers import load, pretrained, resolutions
from gear.files import hashes
from gear.study.models.study import PretrainedTeacher
from gear.study.registry import Study


@pytest.mark.parametrize("name", FILES)
def test_a_missing_surplus_or_misshapen_key_is_named(tmp_path, name):
    network, shapes = FILES[name]
    state = random_state(shapes)
    key = next(k for k in state if k.endswith(("fc2.weight", "c_proj.weight")))
    lacking = {k: v for k, v in state.items() if k != key}
    said = refused(write(tmp_path / f"1{name}", lacking), network)
    assert f"'{key}' is missing (wanted: {DIM}x{MLP})" in said
    said = refused(write(tmp_path / f"2{name}", state | {f"{key}.more": torch.ones(1)}), network)
    assert f"'{key}.more' should not be there" in said
    said = refused(write(tmp_path / f"3{name}", state | {key: torch.ones(DIM, 9)}), network)
    assert f"'{key}' has shape {DIM}x9 (wanted: {DIM}x{MLP})" in said


def test_register_weights_are_another_network(tmp_path):
    state = random_state(dinov2()) | {"register_tokens": torch.ones(1, 4, DIM)}
    said = refused(write(tmp_path / "reg.pth", state))
    assert "'register_tokens' should not be there" in said


def test_the_file_of_another_network_is_named(tmp_path):
    path = write(tmp_path / "clip.pt", random_state(clip_l()))
    said = refused(path, "dinov2")
    assert "no file of DINOv2 ViT-B/14" in said and "dinov2_vitb14_pretrain.pth" in said
    assert "the first 'visual.class_embedding'" in said
    path = write(tmp_path / "list.pt", [torch.ones(1)])
    assert "holds no named tensors (list)" in refused(path, "dinov2")
    state = random_state(dinov2()) | {"epoch": 3}
    assert "'epoch' is no tensor but a int" in refused(write(tmp_path / "t.pth", state))


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_a_truncated_file_is_torn(tmp_path, name):
    path = write(tmp_path / name, random_state(dinov2()))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "cannot be read" in refused(path) and name in refused(path)


def test_a_pickle_with_code_is_not_run(tmp_path):
    path = write(tmp_path / "code.pth", random_state(dinov2()) | {"x": Code()})
    assert "could run code" in refused(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_torchscript_program_is_not_run(tmp_path):
    path = tmp_path / "ViT-L-14.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    assert "constants.pkl" in " ".join(zipfile.ZipFile(path).namelist())
    said = refused(path, "clip_l")
    assert "is a TorchScript program" in said and "state_dict()" in said


def test_another_hash_is_refused_and_the_right_one_taken(tmp_path):
    path = write(tmp_path / "public.pth", random_state(dinov2()))
    said = refused(path, sha256="0" * 64)
    right = hashes.sha256(path)
    assert right in said and "0" * 64 in said
    pretrained.import_weights(spec(path, sha256=right), tmp_path / "teacher", SHAPE)
    assert (tmp_path / "teacher/weights.safetensors").exists()


def test_a_missing_file_says_which_would_do(tmp_path):
    said = refused(tmp_path / "none.pth")
    assert "none.pth, the weights of the teacher, is missing" in said
    assert "dinov2_vitb14_pretrain.pth" in said
    (tmp_path / "folder").mkdir()
    assert "is a folder" in refused(tmp_path / "folder")


@pytest.mark.parametrize("name", ["dinov2_facebook.pth", "dinov3_facebook.pth", "vjepa2.pt"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_named(tmp_path, name, number):
    """One number of one tensor, in a file that is right otherwise."""
    network, shapes = FILES[name]
    state = random_state(shapes)
    key = next(k for k in state if k.endswith("fc2.weight"))
    state[key][3, 5] = number
    said = refused(write(tmp_path / name, state), network)
    assert name in said and f"'{key}' has numbers that are not finite" in said


def test_another_size_is_refused_before_the_file_is_read(tmp_path):
    """What is torn has another size; its hash, which takes longer, is not asked for."""
    path = write(tmp_path / "public.pth", random_state(dinov2()))
    size = path.stat().st_size
    said = refused(path, bytes=size + 1, sha256="0" * 64)
    assert f"has {size:,} bytes, the study says {size + 1:,}" in said and "sha256" not in said
    pretrained.import_weights(spec(path, bytes=size), tmp_path / "teacher", SHAPE)
    assert (tmp_path / "teacher/weights.safetensors").exists()


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match="Did you mean 'dinov2'?"):
        load.network("dinov22")


# ---- the hub -------------------------------------------------------------------------------------


REVISION = "a" * 40
HUB = {"repo": "them/encoder", "file": "model.safetensors"}


def test_the_hub_is_asked_only_for_a_pinned_file_that_is_missing(tmp_path, monkeypatch):
    asked, there = [], write(tmp_path / "cached.pth", random_state(dinov2()))

    def download(repo, file, revision):
        asked.append((repo, file, revision))
        return str(there)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    said = refused(tmp_path / "none.pth", hub=HUB)
    assert "set teachers.*.hub.revision" in said and "them/encoder" in said and not asked
    pinned = spec(tmp_path / "none.pth", hub=HUB | {"revision": REVISION})
    pretrained.import_weights(pinned, tmp_path / "teacher", SHAPE)
    assert asked == [("them/encoder", "model.safetensors", REVISION)]
    record = json.loads((tmp_path / "teacher/run.json").read_text())
    assert record["source"]["hub"]["revision"] == REVISION
    pretrained.import_weights(spec(there, hub=pinned["hub"]), tmp_path / "teacher", SHAPE)
    record = json.loads((tmp_path / "teacher/run.json").read_text())
    assert len(asked) == 1 and "hub" not in record["source"]


def test_a_downloaded_file_must_have_the_hash(tmp_path, monkeypatch):
    there = write(tmp_path / "cached.pth", random_state(dinov2()))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(there))
    hub = HUB | {"revision": REVISION}
    assert "the study says" in refused(tmp_path / "none.pth", hub=hub, sha256="0" * 64)


def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no route to host\nmore lines")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    said = refused(tmp_path / "none.pth", hub=HUB | {"revision": REVISION})
    assert "cannot be downloaded (ConnectionError: no route to host)" in said
    assert f"put the file at {tmp_path / 'none.pth'} by hand" in said


# ---- the study -----------------------------------------------------------------------------------


def test_the_model_of_a_teacher_knows_the_networks(paper):
    networks = typing.get_args(PretrainedTeacher.model_fields["network"].annotation)
    assert list(networks) == list(load.NETWORKS)
    assert set(resolutions.SERVED) < set(load.NETWORKS)
    for name, entry in paper.spec["teachers"].items():
        assert load.network(entry["network"]).SAYS and name == entry["network"]


@pytest.mark.parametrize(
    "old, new, sentence",
    [
        ("network: dinov2, ", "", "'network' is missing; add it."),
        ("network: dinov2, ", "network: dinov, ", "cannot be 'dinov'. Did you mean 'dinov"),
        ("network: dinov2, ", "network: dinov2, sha256: abc, ", "'abc' cannot be a sha256"),
        ("file: model.safetensors}", "file: m, revision: main}", "'main' cannot be a commit"),
        ("network: dinov2, ", "netwrk: dinov2, ", "Did you mean 'network'?"),
    ],
)
def test_a_wrong_teacher_stops_before_any_job(edited_config, old, new, sentence):
    folder = edited_config("studies/paper.yaml", old, new)
    with pytest.raises(ValueError) as caught:
        Study("paper", folder=folder)
    assert sentence in str(caught.value) and "teachers.dinov2" in str(caught.value)


RES384 = "gear-l-res384:     {from: gear-l, until: 100k, scale: 1.5"


def test_a_resolution_that_a_teacher_does_not_serve_stops_before_any_job(edited_config):
    """The registry pairs V-JEPA with 384 pixels in one run, at once in both studies: the demo's
    stand-in serves all. SigLIP2's resolution is that of its weights, which nobody has read yet."""
    folder = edited_config("runs.yaml", RES384, f"{RES384}, align.teacher: vjepa2")
    with pytest.raises(ValueError) as caught:
        Study("paper", folder=folder)
    assert str(caught.value) == (
        "tables.yaml, resolution, gear-l-res384: the teacher V-JEPA 2.1-B serves data.resolution "
        "256, 512 and 1024 alone, not 384; align to dinov2 or dinov3."
    )
    assert Study("demo", folder=folder).runs["gear-l-res384"].settings.align.teacher == "vjepa2"
    edited_again = folder / "runs.yaml"
    text = edited_again.read_text(encoding="utf-8")
    edited_again.write_text(text.replace("scale: 1.5, align", "scale: 2, align"), encoding="utf-8")
    assert Study("paper", folder=folder).runs["gear-l-res384"].settings.data.resolution == 512
