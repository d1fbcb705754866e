"""Validation a piece at a time: the numbers are those of all images at once.

The numbers of each size of a piece are compared with the formulas on all images.
"""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from gear.data import sets
from gear.data.memory import to_float, to_uint8
from gear.evaluation import validate


class Images:
    """The part of an image set that validation uses."""

    def __init__(self, count):
        self.images = torch.randint(0, 256, (count, 1, 16, 16), dtype=torch.uint8)
        self.labels, self.asked = torch.arange(count) % 10, []

    def __len__(self):
        return len(self.images)

    def pieces(self, size):
        for i in range(0, len(self), size):
            self.asked.append(len(self.images[i : i + size]))
            yield self.images[i : i + size], None


def pooled(images):
    x = images.float() if images.dtype == torch.uint8 else images.float() * 255
    return x.unflatten(2, (2, 8)).mean((1, 3)).flatten(1)[:, ::8].numpy()


def frechet(a, b):
    gap = a.mean(0) - b.mean(0)
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    return gap @ gap + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)


@torch.no_grad()
@pytest.mark.parametrize("rounding", validate.ROUNDINGS)
@pytest.mark.parametrize("piece, asked", [(3, [3, 3, 3, 1]), (256, [10])])
def test_all_images_count_once_whatever_the_piece(
    smoke_settings, tiny_networks, monkeypatch, piece, asked, rounding
):
    settings, data = smoke_settings("vq"), Images(10)
    tokenizer = tiny_networks.tokenizer(settings).eval()
    monkeypatch.setattr(sets, "ROWS", piece * 16)
    metrics, codebook, tokens = validate.through(tokenizer, settings, data, pooled, rounding)
    assert data.asked == asked

    assignment = tokenizer.quantizer.assignment(tokenizer.encode(to_float(data.images)))
    assert torch.equal(tokens, assignment.hard()) and tokens.shape == (10, 16)
    recon = (tokenizer.decode(tokens) / 2 + 0.5).clamp(0, 1).double()
    gap = recon - data.images.double() / 255
    mse = gap.square().mean((1, 2, 3))
    assert metrics["l1"] == pytest.approx(gap.abs().mean().item(), rel=1e-6)
    assert metrics["psnr"] == pytest.approx((-10 * mse.log10()).mean().item(), rel=1e-6)
    shown = {"none": recon, "uint8": to_uint8(recon * 2 - 1)}
    expected = {
        name: frechet(*(pooled(x).astype(np.float64) for x in (images, data.images)))
        for name, images in shown.items()
    }
    assert metrics["rfid"] == pytest.approx(expected[rounding], rel=1e-5)
    assert expected["none"] != pytest.approx(expected["uint8"], rel=1e-4)
    p = (assignment.scores().flatten(0, 1).double() / settings.joint.temperature).softmax(-1)
    entropy = -(p * p.log()).sum(-1).mean().item()
    assert codebook["entropy"] == pytest.approx(entropy, rel=1e-5)
    assert codebook["top1"] == pytest.approx(p.max(-1).values.mean().item(), rel=1e-5)
    assert codebook["usage"] == pytest.approx(len(tokens.unique()) / 16)
    assert set(codebook) == set(validate.CODEBOOK) and set(metrics) == set(validate.RECONSTRUCTION)


def test_a_piece_of_large_images_is_small(smoke_settings, paper):
    assert sets.piece_of(smoke_settings("vq")) == 256
    runs = ("gear-l", "gear-l-res384", "gear-l-res512")
    assert [sets.piece_of(paper.runs[run].settings) for run in runs] == [16, 7, 4]


PRECISIONS = [  # runtime.precision, runtime.frozen_precision, whether tokens are of bfloat16
    ("fp32", "same", False),
    ("bf16", "same", True),
    ("bf16", "fp32", False),
    ("fp32", "bf16", True),
]


def settings_in(smoke_settings, run, precision, frozen):
    changes = {"runtime.precision": precision, "runtime.frozen_precision": frozen}
    return smoke_settings(run, **changes)


def low():
    """Whether the forward pass that asks is in bfloat16."""
    return torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("precision, frozen, expected", PRECISIONS)
@pytest.mark.parametrize("stage", ["ar", "joint"])
def test_ntp_is_of_tokens_made_as_in_training(
    smoke_settings, tiny_networks, monkeypatch, stage, precision, frozen, expected
):
    settings, seen = settings_in(smoke_settings, "gear-l", precision, frozen), []
    tokenizer = tiny_networks.tokenizer(settings).eval()
    teacher, ar = tiny_networks.teacher(settings), tiny_networks.ar(settings)
    monkeypatch.setattr(validate, "load_ar", lambda folder: (ar, settings))
    monkeypatch.setattr(validate.checkpoint, "load_weights", lambda *_: None)
    monkeypatch.setattr(validate.checkpoint, "holds", lambda *_: stage == "joint")
    made = tokenizer.tokens
    monkeypatch.setattr(tokenizer, "tokens", lambda x: seen.append(low()) or made(x))
    data = Images(5)
    tokens = made(to_float(data.images))
    found = validate.likelihood("x", tokenizer, data, teacher, tokens)
    if stage == "joint":  # its tokenizer is not frozen
        expected = precision == "bf16"
    # the tokens of float32 are there; those of bfloat16 are made again
    assert seen == [True] * expected and set(found) == {"ntp", "align"}
    seen.clear()
    assert validate.likelihood("x", tokenizer, data, teacher)["ntp"] == found["ntp"]
    assert seen == [expected]


@pytest.mark.parametrize("precision, frozen, expected", PRECISIONS)
def test_stage_2_reads_tokens_in_a_precision_of_their_own(
    smoke_settings, tiny_networks, random_images, monkeypatch, precision, frozen, expected
):
    settings, seen = settings_in(smoke_settings, "llamagen-repa-l", precision, frozen), {}
    trainer = tiny_networks.trainer("ar", settings)

    def note(network, method):
        inner = getattr(network, method)
        monkeypatch.setattr(network, method, lambda x: seen.update({method: low()}) or inner(x))

    note(trainer.tokenizer, "tokens")
    note(trainer.teacher, "forward")
    trainer.step(random_images(settings).batch(0), 0)
    assert seen == {"tokens": expected, "forward": precision == "bf16"}
