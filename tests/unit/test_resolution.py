"""The resolution study: what a run of another scale reads, is taught by and is scored at.

Jobs are compared with those of scale 1 by their settings, images by the nearest of another size.
"""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from gear import config
from gear.data import digits
from gear.data.memory import ImageSet
from gear.evaluation.score import Scorer
from gear.features import standin
from gear.features.resize import resized
from gear.files import aside as files
from gear.study import jobs
from gear.study.registry import Study


def differences(study, name):
    """Settings in which the job of a run differs from that of gear-l."""
    a, b = (json.loads(jobs.training(study, n, "100k"))["settings"] for n in ("gear-l", name))
    return {k: (a.get(k), b.get(k)) for k in {*a, *b} if a.get(k) != b.get(k)}


def test_a_scale_is_the_study_s_and_a_job_gets_the_pixels_alone(paper):
    assert differences(paper, "gear-l-res384") == {"data.resolution": (None, 384)}
    assert differences(paper, "gear-l-res512") == {"data.resolution": (None, 512)}
    assert differences(Study("demo"), "gear-l-res384") == {
        "data.resolution": (16, 24),
        "data.path": ("data/digits", "data/digits-24"),
    }


def test_each_resolution_of_made_images_has_its_folder_and_files_are_cropped(paper):
    demo = Study("demo")
    folders = {"data/digits": 16, "data/digits-24": 24, "data/digits-32": 32}
    assert jobs.made_images(demo) == folders
    assert demo.manifest() == demo.manifest("gear-l") == "data/digits/manifest.json"
    assert demo.manifest("llamagen-repa-l-res512") == "data/digits-32/manifest.json"
    assert paper.manifest("gear-l-res512") == paper.manifest() == "results/paper/data/manifest.json"


def test_a_scale_that_makes_no_whole_tokens_is_refused(edited_config):
    folder = edited_config("runs.yaml", "scale: 1.5}", "scale: 1.3}")
    with pytest.raises(ValueError, match="scale 1.3 makes 20.8 pixels of 16.*tokenizer's 4"):
        Study("demo", folder=folder)
    folder = edited_config("runs.yaml", "scale: 1.3}", "scale: 0}")
    with pytest.raises(ValueError, match="runs.yaml: joint.gear-l-res384.scale"):
        Study("demo", folder=folder)


@pytest.mark.parametrize(
    "pixels, cure", [(20, "16 or 24"), (28, "24 or 32"), (30, "24 or 32"), (4, "8"), (3, "8")]
)
def test_a_resolution_that_does_not_fit_has_the_nearest_that_do(edited_config, pixels, cure):
    folder = edited_config("studies/folder.yaml", "resolution: 32", f"resolution: {pixels}")
    with pytest.raises(ValueError) as error:
        Study("folder", folder=folder)
    said = str(error.value)
    assert said.startswith(f"studies/folder.yaml: settings.data.resolution is {pixels}, ")
    assert said.endswith(f"downsampling 4; set settings.data.resolution to {cure}.")
    edited_config("studies/folder.yaml", f"resolution: {pixels}", f"resolution: {cure[-2:]}")
    Study("folder", folder=folder)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """The same digits at 16 and at 32 pixels."""
    found, root = {}, tmp_path_factory.mktemp("digits")
    for size in (16, 32):
        digits.prepare(root / str(size), size=size, train=20, val=20, seed=0)
        data = config.Data(path=str(root / str(size)), resolution=size, channels=1, classes=10)
        found[size] = ImageSet(data, "val", 1, 0)
    return found


def test_larger_digits_are_the_same_digits(sets):
    small, large = sets[16], sets[32]
    assert small.names == large.names
    again = resized(large.images, 16).float()
    distance = (again[:, None] - small.images.float()[None]).abs().mean((2, 3, 4))
    assert torch.equal(distance.argmin(1), torch.arange(20))
    assert distance.diagonal().max() < 4 < distance.fill_diagonal_(255).min()


@pytest.mark.parametrize("before, after", [(24, 16), (512, 256), (16, 24)])
def test_resizing_is_pil_s(before, after):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, before, before)))
    found = resized(images.to(torch.uint8), after, batch=2)
    for image, small in zip(images.numpy().astype(np.uint8), found.numpy(), strict=True):
        pillow = Image.fromarray(image.transpose(1, 2, 0)).resize((after, after), Image.BICUBIC)
        wanted = np.asarray(pillow).transpose(2, 0, 1)
        assert np.abs(wanted.astype(int) - small.astype(int)).max() <= 1


def test_resizing_filters_what_would_alias():
    stripes = torch.tensor([255, 0, 0, 0], dtype=torch.uint8).repeat(8).expand(1, 1, 32, 32)
    inner = resized(stripes, 8).float()[..., 1:-1]
    assert (inner - 255 / 4).abs().max() < 3  # without the filter the lines are gone: below 0
    assert resized(stripes, 32) is stripes
    with pytest.raises(ValueError, match="32 x 8 pixels cannot be scored at 16 x 16; crop"):
        resized(stripes[:, :, :8], 16)


def test_samples_are_scored_at_the_features_size(tmp_path, sets):
    from gear.runtime import checkpoint
    from gear.sampling.generate import save_arrays

    shape = {"channels": 1, "resolution": 16, "classes": 10}
    network = standin.StandinClassifier(**shape).eval()
    checkpoint.save_weights(tmp_path / "weights.safetensors", {"classifier": network})
    files.write_json(tmp_path / "run.json", {"shape": shape})
    found = standin.extract(network, sets[16].images)
    arrays = (found.pooled_ND, found.spatial_NS, found.probs_NC)
    named = dict(zip(("pooled", "spatial", "probs"), arrays, strict=True))
    save_arrays(tmp_path / "reference.npz", named)
    protocol = {"name": "demo", "neighbours": 3, "prdc_images": 20, "images": 20}
    scores = Scorer(protocol, tmp_path)([sets[32].images])["demo"]
    small = Scorer(protocol, tmp_path)([resized(sets[32].images, 16)])["demo"]
    assert scores == small and np.isfinite(list(scores.values())).all()

    class Mirror:
        """A tokenizer of 32 pixels whose images are stripes that only an antialias removes."""

        downsampling, config = 8, config.Tokenizer(codebook_size=16)
        bias = torch.nn.Parameter(torch.zeros(()))

        def parameters(self):
            return iter([self.bias])

        def decode(self, tokens):
            shades = torch.linspace(0.2, 1.1, len(tokens))[:, None, None, None]
            return shades * torch.tensor([1.0, -1.0]).repeat(16).expand(len(tokens), 1, 32, 32)

    def names(scores):
        return set(scores) - {"notes"}  # of the resize

    tokens, tokenizer = np.zeros((20, 16), int), Mirror()
    plain = Scorer(protocol, tmp_path).of_tokens(tokenizer, tokens)
    assert names(plain) == {"demo"}
    scorer = Scorer(protocol | {"aliased": True}, tmp_path)
    both = scorer.of_tokens(tokenizer, tokens)
    assert names(both) == set(scorer.nothing()) == {"demo", "demo-aliased"}
    assert both["demo"] == plain["demo"]
    floats = F.interpolate(tokenizer.decode(tokens), (16, 16), mode="bicubic", antialias=False)
    as_published = (127.5 * floats + 128).clamp(0, 255).to(torch.uint8)  # truncated
    assert both["demo-aliased"] == Scorer(protocol, tmp_path)([as_published])["demo"]
    assert both["demo-aliased"]["gfid"] != both["demo"]["gfid"]
    tokenizer.downsampling = 4  # the reference's size: there is nothing to resize
    tokenizer.decode = lambda tokens: torch.zeros(len(tokens), 1, 16, 16)
    assert names(scorer.of_tokens(tokenizer, tokens)) == {"demo"}
