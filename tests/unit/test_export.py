"""`gear export`: what was imported comes out bit for bit, and what we trained in public names."""

import dataclasses

import layouts
import pytest
import torch
from checkpoints import LAYOUT, NETWORKS, SIZES, content, state
from safetensors.torch import load_file

from gear import config
from gear.ar.load import load_ar
from gear.cli.main import main
from gear.files import aside as files
from gear.files.reading import read_json
from gear.runtime import checkpoint
from gear.tokenizer.load import load_frozen
from gear.weights.exporting import export
from gear.weights.importing import import_weights


def bits(tensor):
    return tensor.contiguous().view(torch.int32)


def equal(a, b):
    """Whether two states have the same keys, shapes, kinds of number and bits."""
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype
        and a[k].shape == b[k].shape
        and torch.equal(bits(a[k]), bits(b[k]))
        for k in a
    )


FILES = {LAYOUT[kind]: (content(kind), state(kind)) for kind in LAYOUT}
FILES["llamagen-c2i"] = ({"model": state("ar")}, state("ar"))
FILES["llamagen-t2i"] = ({"model": state("text ar")}, state("text ar"))


@pytest.mark.parametrize("layout", FILES)
def test_in_and_out_and_in_again_is_exact(tmp_path, layout, capsys):
    file, used = FILES[layout]
    for value in used.values():  # numbers that arithmetic would change
        value.flatten()[:2] = torch.tensor([-0.0, 1e-42])
    if layout.startswith("llamagen"):
        file = {"model": used}
    else:
        file = layouts.lightning(layouts.random({k: v.shape for k, v in used.items()}, 9), used)
    torch.save(file, tmp_path / "theirs.pt")
    import_weights(tmp_path / "theirs.pt", tmp_path / "first", layout, NETWORKS, SIZES)
    export(tmp_path / "first", tmp_path / "ours.pt")
    settings = read_json(tmp_path / "first/run.json")["settings"]
    options = f"--resolution {settings['data']['resolution']}"
    stated = {"llamagen-c2i": f"{options}, and", "llamagen-t2i": f"{options} --slots "}
    assert stated.get(layout, "tensors") in capsys.readouterr().err
    (wrapper, exported), *others = torch.load(tmp_path / "ours.pt", weights_only=True).items()
    assert wrapper == ("model" if layout.startswith("llamagen") else "state_dict") and not others
    assert equal(exported, used)
    import_weights(tmp_path / "ours.pt", tmp_path / "second", layout, NETWORKS, SIZES)
    first, second = (load_file(tmp_path / d / "weights.safetensors") for d in ("first", "second"))
    assert equal(first, second)
    records = [read_json(tmp_path / d / "run.json") for d in ("first", "second")]
    assert records[0]["settings"] == records[1]["settings"]


@pytest.fixture
def trained(tmp_path, smoke_settings, tiny_networks):
    """A joint checkpoint as its training writes it."""
    settings = smoke_settings("gear-l")
    trainer = tiny_networks.trainer("joint", settings)
    for average in trainer.averages.values():  # which is not what training goes on from
        for parameter in average.module.parameters():
            parameter.mul_(1.5).add_(0.01)
    folder = tmp_path / "gear-l"
    checkpoint.save_weights(folder / "weights.safetensors", trainer.exports())
    files.write_json(folder / "run.json", {"settings": dataclasses.asdict(settings)})
    return folder, trainer


def test_a_trained_checkpoint_in_public_names(trained, smoke, tmp_path, capsys):
    folder, trainer = trained
    networks = {"vq": smoke.network("vq")}
    main(["export", str(folder), str(tmp_path / "vq.pt"), "--part", "tokenizer"])
    assert "prefix_rope" not in capsys.readouterr().err
    arguments = (networks, smoke.spec["sizes"])
    import_weights(tmp_path / "vq.pt", tmp_path / "vq", "llamagen-tokenizer", *arguments)
    averaged = trainer.averages["tokenizer"].module.state_dict()
    assert equal(load_frozen(tmp_path / "vq").state_dict(), averaged)
    assert not equal(averaged, trainer.modules["tokenizer"].state_dict())

    main(["export", str(folder), str(tmp_path / "ar.pt"), "--part", "ar"])
    assert "was trained with ar.prefix_rope identity, which the file cannot say" in (
        capsys.readouterr().err
    )
    import_weights(tmp_path / "ar.pt", tmp_path / "ar", "llamagen-c2i", *arguments)
    ar, settings = load_ar(tmp_path / "ar")
    averaged = trainer.averages["ar"].module
    assert equal(ar.state_dict(), averaged.state_dict())
    assert settings.ar == dataclasses.replace(averaged.config, prefix_rope="zero")


def test_gate_and_up_are_the_two_halves(trained, tmp_path):
    folder, trainer = trained
    export(folder, tmp_path / "ar.pt", "ar")
    s = torch.load(tmp_path / "ar.pt", weights_only=True)["model"]
    block = trainer.averages["ar"].module.blocks[1]
    x = torch.randn(4, 16)
    w1, w2, w3 = (s[f"layers.1.feed_forward.{w}.weight"] for w in ("w1", "w2", "w3"))
    wanted = (torch.nn.functional.silu(x @ w1.T) * (x @ w3.T)) @ w2.T
    gate, up = block.gate_up(x).chunk(2, -1)
    torch.testing.assert_close(block.down(torch.nn.functional.silu(gate) * up), wanted)
    assert all(v.untyped_storage().nbytes() == 4 * v.numel() for v in s.values())  # no views


@pytest.mark.parametrize(
    "options, match",
    [
        (("x.pt",), "gear-l holds tokenizer and ar; add --part tokenizer or --part ar"),
        (("x.safetensors", "ar"), "x.safetensors should be a .pt file; name it so"),
        (("there.pt", "ar"), "there.pt is there already; name another file, remove it"),
    ],
)
def test_an_export_that_cannot_be(trained, tmp_path, options, match):
    (tmp_path / "there.pt").write_bytes(b"theirs")
    with pytest.raises(ValueError, match=match):
        export(trained[0], tmp_path / options[0], *options[1:])
    assert (tmp_path / "there.pt").read_bytes() == b"theirs"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gear-l", "there.pt"]


def test_a_folder_without_what_is_asked_for(tmp_path, smoke_settings, tiny_networks):
    settings = smoke_settings("lfq")
    folder, output = tmp_path / "lfq", tmp_path / "x.pt"
    with pytest.raises(ValueError, match="lfq/weights.safetensors is missing"):
        export(folder, output)
    checkpoint.save_weights(
        folder / "weights.safetensors", {"tokenizer": tiny_networks.tokenizer(settings)}
    )
    files.write_json(folder / "run.json", {"settings": dataclasses.asdict(settings)})
    with pytest.raises(ValueError, match="lfq holds no ar; it has: tokenizer"):
        export(folder, output, "ar")
    said = (
        "no public layout holds a tokenizer with tokenizer.quantizer lfq, tokenizer.network vqgan"
    )
    with pytest.raises(SystemExit, match=f"^gear: {said}"):
        main(["export", str(folder), str(output)])
    assert not output.exists()


def test_a_card_says_what_the_checkpoint_is(tmp_path, smoke_settings, tiny_networks, capsys):
    settings, root = smoke_settings("vq", **{"data.path": str(tmp_path / "images")}), tmp_path
    folder = root / "tokenizer/vq/400k"
    network = tiny_networks.tokenizer(settings)
    checkpoint.save_weights(folder / "weights.safetensors", {"tokenizer": network})
    record = {
        "settings": dataclasses.asdict(settings),
        "difference": config.difference(settings),
        "status": "finished",
        "steps": 400,
        "parameters": {"tokenizer": 1234},
        "commit": "abc",
        "inputs": {"data/manifest.json": "0" * 64},
    }
    files.write_json(folder / "run.json", record)
    files.write_json(root / "features/run.json", {"label": "my classifier"})
    images = {"images": {"train": {"a": 7}, "val": {"a": 3}}}
    files.write_json(root / "images/manifest.json", images)
    scores = {"demo": {"rfid": 1.25}, "notes": ["of another size."]}
    files.write_json(root / "metrics/tokenizer/vq/400k/validation.json", scores)
    main(["card", str(folder)])
    text = capsys.readouterr().out
    for line in (
        "# tokenizer vq 400k",
        "| steps | 400 |",
        "| parameters of the tokenizer | 1,234 |",
        "| tokenizer.codebook_size | 16 |",
        "| images of val | 3 |",
        "| validation | demo | rfid | 1.25 |",
        "- validation: of another size.",
        "- features: my classifier, a stand-in that was trained here.",
        "| commit | abc |",
        f"| input data/manifest.json | sha256 {'0' * 64} |",
    ):
        assert line in text.splitlines(), line
    assert "Apache-2.0" in text
    with pytest.raises(SystemExit, match=r"gear: --output .*run\.json is there already"):
        main(["card", str(folder), "--output", str(folder / "run.json")])
    export(folder, root / "vq.pt")
    assert (root / "vq.pt.md").read_text() == text
    (root / "vq.pt").unlink()
    with pytest.raises(ValueError, match=r"vq\.pt\.md is there already"):
        export(folder, root / "vq.pt")
