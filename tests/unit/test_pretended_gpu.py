"""Device placement on a pretended GPU (tests/helpers/pretended.py), on a machine that has none.

Strategy: tensors of the GPU are fake, tensors of the host are real. A test fails where an operation
mixes the two devices, and where the host reads a value of the GPU in a function that the test does
not name as meant.

- A step runs with all of its forward passes, its metrics, gradient clipping, the fused AdamW and
  the moving averages. It has no readback, and the host does not wait for any upload. A report has
  one readback, of all means.
- Drawing has one readback, of all tokens, and one upload for each batch. Scoring, validation and
  pictures have readbacks where features, tokens and metrics become arrays of the host; MEANT lists
  and counts them. The analysis of features reads back its measures, and whether features are
  finite.
- A fault that is planted in a step must be found.

Not covered: the backward pass and the recomputation in it, which need a driver (each parameter that
a loss reaches gets a gradient of zeros instead); what a fake tensor cannot show, which is kernels,
numbers, memory and speed; LPIPS; torch.compile; several processes; saved and resumed states; the
commands of `gear`, beyond the functions that they share with these.
"""

import json
from argparse import Namespace
from itertools import product

import captioned
import numpy as np
import pytest
import tiny
import torch
import vits
from PIL import Image
from pretended import GPU, PretendedGPU, Readback, install
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.utils._pytree import tree_leaves
from vits import SHAPE, random_state

from gear import config
from gear.alignment.teachers.load import NETWORKS, network
from gear.analysis import similarity
from gear.data.memory import to_uint8
from gear.evaluation import checkpoint as evaluate
from gear.features import dinov2, inception, standin
from gear.features.resize import resized
from gear.files import aside as files
from gear.joint import train as joint
from gear.runtime import checkpoint
from gear.runtime.loop import Segment
from gear.sampling import generate
from gear.sampling.conditions import Labels
from gear.sampling.generate import Drawer, Sampler, draw_all
from gear.t2i.text import load_encoder

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")


@pytest.fixture
def pretended(monkeypatch):
    """The class PretendedGPU, with what else needs a driver replaced."""
    install(monkeypatch)
    return PretendedGPU


# ---- the pretended GPU itself --------------------------------------------------------------------


def test_values_and_copies_are_readbacks_and_two_devices_do_not_mix(pretended):
    with pretended() as gpu:
        x = torch.ones(3).to(GPU)
        assert (x + 1).device == GPU and torch.ones(3).sum().item() == 3
        value, copied = lambda x: bool(x[0]), torch.ones(3).copy_
        for read in (lambda x: x.tolist(), torch.Tensor.cpu, value, copied):
            with pytest.raises(Readback, match="in none of gear makes the host wait"):
                read(x)
        for depends in (torch.nonzero, torch.unique, lambda x: x[x > 0]):
            with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
                depends(x)
        with pytest.raises(RuntimeError, match="found at least two devices, cuda:0 and cpu"):
            x + torch.arange(3)
        assert gpu.readbacks.total() == 4


def test_an_upload_waits_unless_its_memory_is_pinned(pretended):
    with pretended() as gpu:
        host = torch.ones(3)
        host.pin_memory().to(GPU, non_blocking=True)
        torch.zeros(3, device=GPU) * torch.tensor(2.0)
        assert not gpu.waiting_uploads
        index = torch.zeros(2, dtype=torch.long)
        uploads = (
            lambda: host.to(GPU),
            lambda: host.to(GPU, non_blocking=True),
            lambda: host.pin_memory().to(GPU),
            lambda: torch.zeros(3, device=GPU)[index],
            lambda: torch.as_tensor(host.numpy(), device=GPU),
            lambda: torch.tensor(2.0, device=GPU),
        )
        for count, upload in enumerate(uploads, 1):
            upload()
            assert gpu.waiting_uploads.total() == count


# ---- a step of each stage ------------------------------------------------------------------------

PLAIN = {"runtime.precision": "fp32"}
LOW = {
    "runtime.precision": "bf16",
    "runtime.recompute": True,
    "runtime.micro_batch": 4,
    "runtime.channels_last": True,
}
MAGVIT2 = {"tokenizer.network": "magvit2", "tokenizer.z_channels": 4}
CASES = (
    ("tokenizer", "vq", PLAIN),
    ("tokenizer", "lfq", LOW | MAGVIT2),
    ("tokenizer", "ibq", LOW),
    ("joint", "gear-l", PLAIN),
    ("joint", "gear-l-ste-ntp-target", LOW),
    ("joint", "gear-l-lfq", LOW),
    ("joint", "gear-l-ibq", PLAIN),
    ("ar", "llamagen-repa-l", LOW),
    ("ar", "llamagen-repa-l-lfq", PLAIN),
    ("ar", "llamagen-repa-l-ibq", LOW),
)


def eight_bit(batch):
    """As a data set gives it."""
    return batch._replace(images=to_uint8(batch.images))


def ready(tiny_networks, stage, settings):
    """A trainer as a segment has it."""
    trainer = tiny_networks.trainer(stage, settings)
    trainer.tune()
    return trainer


@pytest.mark.parametrize("stage, run, changes", CASES, ids=[run for _, run, _ in CASES])
def test_a_step_stays_on_the_gpu(
    pretended, smoke_settings, tiny_networks, random_images, stage, run, changes
):
    settings = smoke_settings(run, **changes, **{"runtime.log_every": 2})
    data = random_images(settings)
    with pretended() as gpu:
        trainer = ready(tiny_networks, stage, settings)
        gpu.types.clear()
        gpu.waiting_uploads.clear()
        silent, reporting = (trainer.step(eight_bit(data.batch(n)), n) for n in (0, 1))
    assert not gpu.readbacks and not gpu.waiting_uploads
    assert ("top1" in reporting) == ("top1" in silent) == (stage == "joint")
    assert {(v.device, v.ndim) for v in reporting.values()} == {(GPU, 0)}
    assert (torch.bfloat16 in gpu.types) == (settings.runtime.precision == "bf16")
    assert {x.device for x in tree_leaves(trainer.state()) if torch.is_tensor(x)} == {GPU}
    for optimizer in trainer.optimizers.values():
        reached = {p for group in optimizer.param_groups for p in group["params"]}
        assert reached == set(optimizer.state)


@pytest.mark.parametrize("changes", [PLAIN, LOW], ids=["plain", "low"])
def test_a_step_that_reads_captions_stays_on_the_gpu(
    pretended, smoke_settings, encoder_folder, tmp_path, changes
):
    """The text encoder with it: what it needs of the host is uploaded without waiting."""
    captioned.shards(tmp_path)
    settings = smoke_settings("gear-t2i", **captioned.changes(tmp_path, **changes))
    data, precision = captioned.training_set(tmp_path, settings), settings.runtime.precision
    with pretended() as gpu:
        encoder = load_encoder(encoder_folder, settings.text, precision)
        encoder.network.to(GPU)
        trainer = tiny.trainer("t2i", settings, encoder)
        trainer.tune()
        gpu.types.clear()
        gpu.waiting_uploads.clear()
        metrics = trainer.step(data.batch(0), 0)
    assert not gpu.readbacks and not gpu.waiting_uploads
    assert {(v.device, v.ndim) for v in metrics.values()} == {(GPU, 0)}
    assert (torch.bfloat16 in gpu.types) == (precision == "bf16")


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_drawing_from_captions_reads_back_the_tokens_alone(
    pretended, smoke_settings, encoder_folder, tmp_path, guidance
):
    settings = smoke_settings("gear-t2i", **captioned.changes(tmp_path))
    ar, sampler = captioned.ar(settings), Sampler(images=6, guidance=guidance)
    captions = [captioned.caption(n) for n in range(3)]
    with pretended("sampling.generate.draw_all") as gpu:
        encoder = load_encoder(encoder_folder, settings.text)
        encoder.network.to(GPU)
        drawn = generate.generate_captions(ar.to(GPU), encoder, captions, sampler, batch=4)
    assert drawn["tokens"].shape == (6, 16)
    assert gpu.readbacks == {"sampling.generate.draw_all": 1}


def test_every_guidance_stays_on_the_gpu(pretended, smoke_settings, tiny_networks, random_images):
    losses = [], ["align"], ["ntp"], ["align", "ntp"]
    names = ("joint.readout", "joint.tokenizer_losses", "joint.ntp_path")
    switches = product(("soft", "straight_through"), losses, ("input", "target", "both"))
    with pretended() as gpu:
        settings = smoke_settings("gear-l")
        trainer = ready(tiny_networks, "joint", settings)
        [part] = trainer.parts(random_images(settings).batch(0))
        target = trainer.teacher(part.images)
        _, quantized = trainer.tokenizer(part.images)
        gpu.waiting_uploads.clear()
        for chosen in switches:
            trainer.settings = smoke_settings("gear-l", **dict(zip(names, chosen, strict=True)))
            loss, _ = trainer.guidance(quantized, part, target)
            assert loss.device == GPU and loss.requires_grad == bool(chosen[1])
    assert not gpu.readbacks and not gpu.waiting_uploads


FAULTS = {
    "a value": (lambda x: x * x.sum().item(), Readback, "_local_scalar_dense in joint.train.Joint"),
    "a copy": (lambda x: x.cpu().to(x.device), Readback, "_to_copy in joint.train.JointTrainer"),
    "a size": (lambda x: x[x > 0].mean() * x, DynamicOutputShapeException, "nonzero"),
    "a tensor of the host": (lambda x: x * torch.arange(x.shape[-1]), RuntimeError, "two devices"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_guidance_is_found(
    pretended, smoke_settings, tiny_networks, random_images, monkeypatch, fault
):
    spoil, error, message = FAULTS[fault]
    settings = smoke_settings("gear-l")
    right = joint.alignment_loss
    monkeypatch.setattr(joint, "alignment_loss", lambda found, target: right(spoil(found), target))
    with pretended(), pytest.raises(error, match=message):
        ready(tiny_networks, "joint", settings).step(random_images(settings).batch(0), 0)


def test_a_report_has_one_readback(
    pretended, smoke_settings, tiny_networks, random_images, tmp_path
):
    settings = smoke_settings("llamagen-repa-l", **{"runtime.log_every": 2})
    means = "runtime.loop.Segment._means"
    with pretended(means) as gpu:
        segment = Segment(
            ready(tiny_networks, "ar", settings), random_images(settings), tmp_path / "run/1k", 0, 5
        )
        segment.resume()
        gpu.waiting_uploads.clear()
        segment._train("run")
    assert [row["step"] for row in segment.history] == [1, 2, 4, 5]
    assert gpu.readbacks == {means: 4} and not gpu.waiting_uploads


# ---- teachers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"vjepa2"}))
def test_a_teacher_has_no_tensor_on_the_host(pretended, name):
    teacher = network(name)
    size = 518 if name == "dinov2" else 224 if name == "clip_l" else 256
    built = teacher(SHAPE | {"img_size": size}, 256)
    built.fit()
    with pretended() as gpu:
        x = torch.zeros(2, 3, 256, 256, device=GPU)
        built.eval().to(GPU)
        with torch.autocast("cuda", torch.bfloat16):
            found = built(x)
    assert found.shape == (2, 256, built.width) and found.device == GPU
    assert not gpu.readbacks and torch.bfloat16 in gpu.types


# ---- drawing, scoring, evaluation ----------------------------------------------------------------

SAMPLERS = {
    "plain": Sampler(images=6),
    "filtered": Sampler(images=6, guidance=1.5, temperature=0.9, top_k=5, top_p=0.9),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_drawing_reads_back_the_tokens_alone(pretended, smoke_settings, tiny_networks, name):
    ar = tiny_networks.ar(smoke_settings()).requires_grad_(False)
    labels, seeds = generate.requests(SAMPLERS[name], 10)
    with pretended("sampling.generate.draw_all") as gpu:
        tokens = draw_all(ar, Labels(ar.to(GPU), labels), seeds, SAMPLERS[name], batch=4)
    assert tokens.shape == (6, ar.length) and gpu.readbacks == {"sampling.generate.draw_all": 1}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("fixed", [False, True])
def test_a_batch_is_drawn_with_one_upload(
    pretended, smoke_settings, tiny_networks, fixed, precision
):
    sampler = Sampler(3, guidance=1.5, top_k=5, top_p=0.9, precision=precision)
    ar = tiny_networks.ar(smoke_settings()).requires_grad_(False)
    with pretended() as gpu:
        drawer = Drawer(ar.to(GPU), sampler, fixed)
        gpu.waiting_uploads.clear()  # of the weights
        prefix = ar.condition(torch.zeros(3, dtype=torch.long, device=GPU))
        assert drawer(prefix, np.arange(3)).shape == (3, ar.length)
    assert gpu.waiting_uploads == {"sampling.generate.Drawer.__call__": 1}  # of all random numbers
    assert (torch.bfloat16 in gpu.types) == (precision == "bf16")


def test_feature_networks_read_back_features_and_what_pil_resizes(pretended):
    adm, clean, fid = (f"features.inception.{name}" for name in ("adm", "clean", "pytorch_fid"))
    fdd, pil = "features.dinov2.features", "features.dinov2.Encoder.forward"
    small = "features.resize._bicubic"
    google = inception.Inception().eval().requires_grad_(False)
    facebook = dinov2.Encoder(random_state(vits.dinov2(facebook=False)), SHAPE).eval()
    with pretended(adm, clean, fid, fdd, pil, small) as gpu:
        images = resized(torch.zeros(2, 3, 64, 64, dtype=torch.uint8, device=GPU), 32)
        google, facebook = google.to(GPU), facebook.to(GPU)
        ways = {inception.adm: google, inception.clean: google, inception.pytorch_fid: google}
        for way, network in (ways | {dinov2.features: facebook}).items():
            found = way(network, images)
            assert found.pooled_ND.shape == (2, vits.DIM if network is facebook else 2048)
    assert gpu.readbacks == {adm: 3, clean: 2, fid: 1, fdd: 1, pil: 1, small: 1}


IMAGES = 20
PROTOCOLS = {
    "generation": {"name": "demo", "neighbours": 3, "prdc_images": IMAGES, "images": IMAGES},
    "validation": {"name": "demo", "images": IMAGES},
}


@pytest.fixture
def world(smoke_settings, tiny_networks, random_images, tmp_path):
    """(folder with data, features, a teacher and a joint checkpoint, the settings): on the host."""
    for number in range(IMAGES):
        file = tmp_path / f"data/val/{number % 10}/{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), 10 * number).save(file)
    settings = smoke_settings("gear-l", **{"data.path": str(tmp_path / "data")})
    shape = {"channels": 1, "resolution": 16, "classes": 10}
    classifier = standin.StandinClassifier(**shape)
    features = standin.extract(classifier, torch.zeros(40, 1, 16, 16, dtype=torch.uint8))
    checkpoint.save_weights(tmp_path / "features/weights.safetensors", {"classifier": classifier})
    files.write_json(tmp_path / "features/run.json", {"shape": shape})
    arrays = (features.pooled_ND, features.spatial_NS, features.probs_NC)
    named = dict(zip(("pooled", "spatial", "probs"), arrays, strict=True))
    generate.save_arrays(tmp_path / "features/reference.npz", named)
    teacher = tiny_networks.teacher(settings)
    checkpoint.save_weights(tmp_path / "teacher/weights.safetensors", {"teacher": teacher})
    shape |= {"patch": 4, "dim": 16, "layers": 1}
    record = {"shape": shape, "spec": {"objective": "masked_patch"}}
    files.write_json(tmp_path / "teacher/run.json", record)
    trainer = tiny_networks.trainer("joint", settings)
    Segment(trainer, random_images(settings), tmp_path / "joint/1k", 0, 1).run("joint")
    return tmp_path, settings


def arguments(folder):
    """Of a command on the joint checkpoint."""
    places = dict.fromkeys(("checkpoint", "tokenizer"), "joint/1k")
    places |= {name: name for name in ("features", "teacher", "samples", "metrics", "output")}
    return Namespace(data=None, **{name: str(folder / place) for name, place in places.items()})


# the host's functions that take something from the GPU, and how often: two samplers of one batch,
# one piece of validation images, one batch of pictures
MEANT = {
    "sampling.generate.draw_all": 3,  # the tokens of all batches
    "features.standin.extract": 12,  # three features of two samplers, images, reconstructions
    "metrics.reconstruction._checked": 12,  # the ranges of images and reconstructions, by metric
    "evaluation.validate.through": 11,  # tokens, one number per image by metric, seven means
    "evaluation.validate.likelihood": 2,  # two losses
    "evaluation.checkpoint.last_axis": 1,  # reconstructions
    "sampling.decode.decode": 1,  # images
}


def test_evaluation_reads_back_where_it_is_meant(world, pretended, monkeypatch):
    folder, settings = world
    monkeypatch.setattr(evaluate, "use", lambda: GPU)
    samplers = {"plain": {"images": IMAGES}, "cfg": {"images": IMAGES, "guidance": 1.5}}
    job = {"settings": config.difference(settings), "samplers": samplers, **PROTOCOLS}
    with pretended(*MEANT) as gpu:
        evaluate.evaluate(job, arguments(folder))
    assert gpu.readbacks == MEANT
    assert len(list((folder / "metrics").iterdir())) == 3
    likelihood = json.loads((folder / "metrics/validation.json").read_text())["likelihood"]
    assert likelihood == pytest.approx({"ntp": 0.5, "align": 0.5})  # what was made up


def test_the_analysis_reads_back_its_measures_and_checks(world, pretended, monkeypatch):
    folder, settings = world
    monkeypatch.setattr(similarity, "use", lambda: GPU)
    choices = {"images": 16, "batch": 8, "neighbours": {"image": 5, "patch": 3}}
    choices |= {"kernel": "inner", "cka": "biased", "cutoff": 0.25}
    job = {"settings": config.difference(settings), "analysis": choices}
    meant = {"analysis.hsic.checked", "analysis.similarity.Tally.add"}
    with pretended(*meant) as gpu:
        similarity.analyse(job, arguments(folder))
    assert set(gpu.readbacks) == meant
    measures = json.loads((folder / "output").read_text())["layers"].values()
    assert {mean for found in measures for mean in found["mean"]} == {0.5}  # what was made up
