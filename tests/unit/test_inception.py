"""Inception's features against torch-fidelity, pytorch-fid and clean-fid on the same random
weights, and what a wrong file of weights is told."""

import json

import cleanfid.fid
import cleanfid.inception_pytorch as pytorch_fid
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cleanfid.inception_torchscript import InceptionV3W
from inceptions import state
from PIL import Image
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from gear.cli import main as cli
from gear.evaluation import networks
from gear.features import inception
from gear.metrics.protocol import Features


@pytest.fixture(scope="module")
def network(inception_file):
    path, sha256 = inception_file
    found, stated = inception.load(path, sha256)
    assert stated == sha256 and not any(p.requires_grad for p in found.parameters())
    return found


@pytest.fixture(scope="module")
def pictures(photo):
    """uint8 (3, 3, 40, 36), smooth with grain."""
    x = np.stack([np.asarray(photo(36, 40, seed)) for seed in range(3)])
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def close(found, wanted, least=0.05):
    """Equal to float rounding, and with something in it."""
    wanted = np.asarray(wanted)
    assert found.shape == wanted.shape and np.std(wanted) > least * np.abs(wanted).mean() > 0
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5 * np.abs(wanted).max())


def test_every_tap_of_adm_is_torch_fidelitys(network, pictures, inception_file):
    theirs = FeatureExtractorInceptionV3(
        "theirs", ["2048", "logits_unbiased"], feature_extractor_weights_path=inception_file[0]
    )
    seen = []  # mixed_6/conv of TensorFlow's graph is this branch of the third 17 x 17 block of C
    theirs.Mixed_6d.branch1x1.register_forward_hook(lambda *x: seen.append(x[2]))
    pooled, logits = theirs(pictures)
    found = inception.adm(network, pictures)
    close(found.pooled_ND, pooled)
    close(found.probs_NC, logits.softmax(-1))
    rows_columns_channels = seen[0][:, :7].permute(0, 2, 3, 1)
    assert rows_columns_channels.shape == (3, 17, 17, 7)
    close(found.spatial_NS, rows_columns_channels.reshape(3, 2023))
    assert found.probs_NC.shape == (3, 1008) and found.probs_NC.max() < 0.9


@pytest.mark.parametrize("height, width", [(16, 16), (299, 299), (256, 256), (512, 301), (31, 700)])
def test_the_resize_of_tensorflow_1_to_the_bit(height, width):
    x = (torch.rand(1, 3, height, width) * 255).round()
    wanted = interpolate_bilinear_2d_like_tensorflow1x(x, (299, 299), align_corners=False)
    assert torch.equal(inception.tf1_bilinear(x), wanted)
    if (height, width) != (299, 299):
        half_pixels = F.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
        assert (half_pixels - wanted).abs().max() > 1


def test_pytorch_fids_way_in(network, pictures, monkeypatch):
    monkeypatch.setattr(pytorch_fid, "load_state_dict_from_url", lambda *_, **__: state())
    theirs = pytorch_fid.InceptionV3(output_blocks=[3], resize_input=False).eval()
    x = F.interpolate(pictures / 255, (299, 299), mode="bilinear", align_corners=False)
    found = inception.pytorch_fid(network, pictures).pooled_ND
    close(found, theirs(x)[0].flatten(1))
    np.testing.assert_array_equal(inception.pytorch_fid(network, pictures / 255).pooled_ND, found)
    adm = inception.adm(network, pictures).pooled_ND
    assert np.abs(found - adm).max() > 1e-3 * np.abs(adm).max()  # another resize, other features


@pytest.fixture(scope="module")
def program(network, tmp_path_factory):
    """A TorchScript file as clean-fid's: a module whose `layers` are the network to pool_3."""

    class Layers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, x):
            return self.inner(x)[0]

    class Base(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.jit.trace(Layers(), torch.rand(2, 3, 299, 299), check_trace=False)

        def forward(self, x):
            return self.layers(x)

    path = tmp_path_factory.mktemp("script") / "inception-2015-12-05.pt"
    torch.jit.script(Base()).save(path)
    return path


def test_clean_features_are_clean_fids(network, pictures, program, tmp_path):
    files = []
    for i, picture in enumerate(pictures):
        files.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(files[-1])
    model = InceptionV3W(str(program.parent), download=False).eval()
    options = {"num_workers": 0, "batch_size": 2, "device": torch.device("cpu"), "verbose": False}
    theirs = cleanfid.fid.get_files_features(files, model=model, mode="clean", **options)
    close(inception.clean(network, pictures).pooled_ND, theirs)
    script, _ = inception.load(program, inception.verified(program, ""), script=True)
    close(inception.clean(script, pictures).pooled_ND, theirs)


def test_features_do_not_depend_on_the_batch(network, pictures):
    for way in (inception.adm, inception.clean, inception.pytorch_fid):
        whole = way(network, pictures)
        parts = [way(network, part) for part in pictures.split(2)]
        for name in ("pooled", "spatial", "probs"):
            if whole.part(name) is not None:
                close(np.concatenate([part.part(name) for part in parts]), whole.part(name))


def test_grey_images_are_named(network):
    extract = networks.extractor("adm", network)
    with pytest.raises(ValueError, match="protocol adm reads RGB images, these have 1 channel"):
        extract(torch.zeros(2, 1, 16, 16, dtype=torch.uint8))
    assert isinstance(extract(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)), Features)


def test_clean_from_end_to_end_at_full_width(network, pictures, inception_file, tmp_path, capsys):
    """The trace of the root by singular values, of two sets of few images."""
    images = pictures.permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "fake.npz", arr_0=images)
    np.savez(tmp_path / "real.npz", arr_0=np.concatenate([images[:2], images[:, ::-1]]))
    path, sha256 = inception_file
    words = [f"--samples={tmp_path}/fake.npz", f"--reference={tmp_path}/real.npz", "--json"]
    words += [f"--weights={path}", f"--sha256={sha256}", "--images=3", "--device=cpu"]
    cli.main(["evaluate", "--protocol", "clean", *words])
    found = json.loads(capsys.readouterr().out)
    sides = []
    for name in ("fake", "real"):
        with np.load(tmp_path / f"{name}.npz") as file:
            x = torch.from_numpy(file["arr_0"].copy()).permute(0, 3, 1, 2)
        sides.append(inception.clean(network, x).pooled_ND.astype(np.float64))
    x, y = ((side - side.mean(0)) / np.sqrt(len(side) - 1) for side in sides)
    gap = sides[0].mean(0) - sides[1].mean(0)
    wanted = gap @ gap + (x**2).sum() + (y**2).sum()
    wanted -= 2 * np.linalg.svd(x @ y.T, compute_uv=False).sum()
    assert found["metrics"]["gfid"] == pytest.approx(wanted, rel=1e-4)


# ---- files of weights ----------------------------------------------------------------------------


def refused(path, **options):
    with pytest.raises(ValueError) as error:
        inception.load(path, **options)
    said = str(error.value)
    assert "\n" not in said and said.endswith(".")
    return said


def test_a_missing_file_says_which_to_put_there(tmp_path):
    said = refused(tmp_path / "none.pth")
    assert said.startswith(f"{tmp_path}/none.pth is missing; put the Inception weights (pytorch-f")
    assert "pt_inception-2015-12-05-6726825d.pth" in said


def test_the_publishers_hash_counts_unless_the_user_names_one(inception_file):
    path, sha256 = inception_file
    said = refused(path)
    assert f"has sha256 {sha256[:8]}..., that of the Inception weights" in said
    assert "begins with 6726825d; download it again, or name the file's own sha256" in said
    assert "but 00000000 is asked for; download it again" in refused(path, sha256="00000000")


def test_files_of_other_things_are_refused(tmp_path, program):
    def saved(content, name="x.pth"):
        torch.save(content, tmp_path / name)
        return {"path": tmp_path / name, "sha256": inception.verified(tmp_path / name, "")}

    whole = state()
    fewer = {k: v for k, v in whole.items() if k != "Mixed_6d.branch1x1.conv.weight"}
    assert "'Mixed_6d.branch1x1.conv.weight' is missing" in refused(**saved(fewer))
    assert "'extra' should not be there" in refused(**saved(whole | {"extra": torch.zeros(1)}))
    of_torchvision = whole | {"fc.weight": torch.zeros(1000, 2048)}
    assert "'fc.weight' has shape 1000x2048 (wanted: 1008x2048)" in refused(**saved(of_torchvision))
    assert "holds no named tensors alone" in refused(**saved([1, 2]))
    said = refused(program, sha256=inception.verified(program, ""))
    assert "is a TorchScript program, which only the protocol clean runs" in said
    for other in (torch.nn.Linear(2, 2), torch.nn.Identity()):
        torch.jit.script(other).save(tmp_path / "other.pt")
        known = inception.verified(tmp_path / "other.pt", "")
        said = refused(tmp_path / "other.pt", sha256=known, script=True)
        assert "is no Inception program as clean-fid's" in said


def test_a_program_of_no_known_hash_is_not_run(program, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("the program was loaded"))
    assert refused(program, script=True) == (
        f"{program} is a TorchScript program, which would be run, and its publisher states no "
        "hash; give the sha256 of the copy that you trust with --sha256, or name the weights of "
        "pytorch-fid."
    )
    assert "but 00000000 is asked for" in refused(program, sha256="00000000", script=True)


def test_old_files_have_no_counter_of_batches(tmp_path, network):
    """pytorch-fid's file was written by a torch that had none."""
    bare = {k: v for k, v in state().items() if not k.endswith("num_batches_tracked")}
    torch.save(bare, tmp_path / "old.pth")
    found, _ = inception.load(tmp_path / "old.pth", inception.verified(tmp_path / "old.pth", ""))
    wanted = network.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in found.state_dict().items())
