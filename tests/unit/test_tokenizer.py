"""The autoencoder around the quantizers; which part of it each loss reaches.

Gradients say which part a loss reaches: those that must be zero are compared with zero.
"""

import dataclasses
from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gear.tokenizer.discriminator import PatchGAN
from gear.tokenizer.losses import Features, hinge_discriminator, make_lpips, tokenizer_loss
from gear.tokenizer.vqgan import Residual, Up

approx = pytest.approx
KINDS = ("vq", "lfq", "ibq")


def test_positions_are_in_raster_order(smoke_settings, tiny_networks):
    tokenizer = tiny_networks.tokenizer(smoke_settings())
    x = torch.randn(2, 1, 16, 16)
    grid = tokenizer.quant_conv(tokenizer.encoder(x))
    torch.testing.assert_close(tokenizer.encode(x)[:, 4 * 1 + 2], grid[:, :, 1, 2])
    tokenizer.post_quant_conv = tokenizer.decoder = nn.Identity()
    code = torch.randn(2, 16, 3)
    assert torch.equal(tokenizer.decode_codes(code)[:, :, 1, 2], code[:, 4 * 1 + 2])


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_frozen_use_give_the_same_tokens(smoke_settings, tiny_networks, kind):
    settings = smoke_settings(kind)
    tokenizer = tiny_networks.tokenizer(settings)
    x = torch.randn(4, 1, 16, 16)
    recon, quantized = tokenizer(x)
    tokens = tokenizer.tokens(x)
    assert recon.shape == x.shape and tokens.shape == (4, 16) and not tokens.requires_grad
    assert torch.equal(tokens, quantized.indices_BN)
    torch.testing.assert_close(tokenizer.decode(tokens), recon, atol=1e-5, rtol=1e-5)


def test_tokens_that_form_no_square_are_refused(smoke_settings, tiny_networks):
    with pytest.raises(ValueError, match="^15 tokens form no square grid; the tokenizer makes h x"):
        tiny_networks.tokenizer(smoke_settings()).decode(torch.zeros(1, 15, dtype=torch.long))


# which part each loss reaches

PARTS = {
    "vq": {
        "l1": "encoder decoder",
        "l2": "encoder decoder",
        "gan": "encoder decoder",
        "codebook": "codebook",
        "commitment": "encoder",
        "entropy_loss": "encoder codebook",
    },
    "lfq": {"l1": "encoder decoder", "commitment": "encoder", "entropy_loss": "encoder"},
    "ibq": {
        "l1": "encoder codebook decoder",
        "codebook": "encoder codebook",
        "commitment": "codebook",
        "entropy_loss": "encoder codebook",
    },
}


def reached(module, loss):
    """Names of the tokenizer's parts in which `loss` has a gradient that is not zero."""
    names = dict(module.named_parameters())
    gradients = torch.autograd.grad(loss, names.values(), retain_graph=True, allow_unused=True)
    owner = {"quant_conv": "encoder", "post_quant_conv": "decoder", "quantizer": "codebook"}
    found = {
        n.split(".")[0] for n, g in zip(names, gradients, strict=True) if g is not None and g.any()
    }
    return {owner.get(n, n) for n in found}


@pytest.mark.parametrize("kind, part", [(k, p) for k in PARTS for p in PARTS[k]])
def test_each_loss_reaches_exactly_its_part(
    smoke_settings, tiny_networks, random_images, kind, part
):
    settings = smoke_settings(kind)
    trainer = tiny_networks.trainer("tokenizer", settings)
    x = random_images(settings).batch(0).images
    recon, quantized = trainer.tokenizer(x)
    _, parts = tokenizer_loss(x, recon, quantized, settings.loss, trainer.discriminator)
    assert reached(trainer.tokenizer, parts[part]) == set(PARTS[kind][part].split())


def test_the_total_is_the_weighted_sum(smoke_settings, tiny_networks, random_images):
    settings = smoke_settings(
        "vq", **{"loss.l1": 2.0, "loss.commitment": 0.5, "loss.entropy": 0.25}
    )
    trainer = tiny_networks.trainer("tokenizer", settings)
    x = random_images(settings).batch(0).images
    recon, quantized = trainer.tokenizer(x)
    total, p = tokenizer_loss(x, recon, quantized, settings.loss, trainer.discriminator)
    expected = 2 * p["l1"] + p["l2"] + p["codebook"] + 0.5 * p["commitment"]
    expected = expected + 0.25 * p["entropy_loss"] + 0.05 * p["gan"]
    assert total.item() == approx(expected.item(), rel=1e-6)
    assert p["l1"].item() == approx((recon - x).abs().mean().item())
    assert p["gan"].item() == approx(-trainer.discriminator(recon).mean().item(), rel=1e-5)


def test_losses_and_discriminator_are_float32_under_autocast(
    smoke_settings, tiny_networks, random_images
):
    settings = smoke_settings("vq")
    trainer = tiny_networks.trainer("tokenizer", settings)
    x = random_images(settings).batch(0).images
    recon, quantized = trainer.tokenizer(x)
    critic, seen, conv = trainer.discriminator, [], nn.Conv2d(1, 4, 3)
    weights = dataclasses.replace(settings.loss, lpips=0.1)

    def perceive(a, b):
        difference = conv(a) - conv(b)
        seen.append(difference.dtype)
        return difference.square().mean((1, 2, 3), keepdim=True)

    def losses(recon):
        total, parts = tokenizer_loss(x, recon, quantized, weights, critic, perceive)
        disc = hinge_discriminator(critic(x), critic(recon.detach()))
        return {"total": total, "disc": disc, **parts}

    plain = losses(recon)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16  # the switch is on
        inside, rounded = losses(recon), losses(recon.bfloat16())
    assert seen == [torch.float32] * 3 and {"lpips", "gan", "entropy_loss"} <= set(plain)
    for name, value in plain.items():
        assert torch.equal(inside[name], value) and rounded[name].dtype == torch.float32


class Counted(TorchDispatchMode):
    """How often each operation is run."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.calls[function.overloadpacket.__name__] += 1
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("low", [False, True])
def test_a_fused_block_keeps_less_and_changes_no_bit_and_runs_no_convolution_again(low):
    found, kept, calls = [], [], []
    for form in ("reference", "fused"):
        torch.manual_seed(0)
        block, x = Residual(8, 16, 4), torch.randn(2, 8, 8, 8, requires_grad=True)
        block.form = form
        held = []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda t, to=held: to.append(t) or t, id)
        with Counted() as counted:
            with hooks, torch.autocast("cpu", torch.bfloat16, enabled=low):
                block(x)
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                y = block(x)
            y.float().square().sum().backward()
        kept.append(sum(t.nbytes for t in held))
        calls.append(counted.calls)
        found.append([y.detach(), x.grad, *[p.grad for p in block.parameters()]])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert kept[1] < 0.4 * kept[0]
    assert calls[1]["convolution"] == calls[0]["convolution"] == 6
    assert calls[1]["native_group_norm"] == 6 and calls[0]["native_group_norm"] == 4


@pytest.mark.parametrize("side", [7, 8, 11])
def test_a_fused_step_up_is_the_convolution_of_the_enlarged_map(side):
    torch.manual_seed(0)
    up, found = Up(4).double(), []
    x_BCHW = torch.randn(2, 4, side, side + 1, dtype=torch.float64)
    for up.form in ("reference", "fused"):
        x = x_BCHW.clone().requires_grad_()
        with Counted() as counted:
            y = up(x)
        gradients = torch.autograd.grad(y.square().sum(), [x, *up.parameters()])
        found.append([y.detach(), *gradients])
    assert ("upsample_nearest2d" in counted.calls) == (side < 8)
    for mine, reference in zip(*found, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-12)


def test_a_trained_tokenizer_has_the_form_of_its_settings_and_its_average_the_reference(
    smoke_settings, tiny_networks
):
    for form in ("reference", "fused"):
        settings = smoke_settings("vq", **{"runtime.kernels": form})
        trainer = tiny_networks.trainer("tokenizer", settings)
        for network, wanted in ((trainer.tokenizer, form), (trainer.average.module, "reference")):
            forms = {m.form for m in network.modules() if isinstance(m, Residual | Up)}
            assert forms == {wanted}


# of the critics' losses and their gradients in bfloat16, relative; docs/engineering.md has what
# was measured
VALUE, GRADIENT = 5e-3, 0.25


def away(mine, reference):
    return ((mine - reference).norm() / reference.norm()).item()


def test_a_discriminator_in_bfloat16_has_float32_logits_and_losses_within_their_tolerance():
    torch.manual_seed(0)
    critic, x = PatchGAN(3), torch.rand(4, 3, 64, 64) * 2 - 1
    recon = (x + 0.3 * torch.randn_like(x)).requires_grad_()
    found, dtypes = {}, []
    critic[0].register_forward_hook(lambda *call: dtypes.append(call[-1].dtype))
    for critic.precision in ("fp32", "bf16"):
        fake = critic(recon)
        terms = {"gan": -fake.mean(), "disc": hinge_discriminator(critic(x), fake)}
        assert fake.dtype == torch.float32
        at = {"gan": [recon], "disc": [*critic.parameters()]}
        for name, value in terms.items():
            gradients = torch.autograd.grad(value, at[name], retain_graph=True)
            gradient = torch.cat([g.flatten() for g in gradients])
            found[name, critic.precision] = value.detach(), gradient
    assert dtypes == [torch.float32] * 2 + [torch.bfloat16] * 2
    for name in ("gan", "disc"):
        pairs = zip(found[name, "bf16"], found[name, "fp32"], strict=True)
        value, gradient = (away(mine, reference) for mine, reference in pairs)
        assert 0 < value < VALUE and 0 < gradient < GRADIENT


@pytest.mark.parametrize("around", [False, True])  # an autocast of the caller's
def test_the_layers_of_lpips_have_their_own_precision_and_its_maps_are_float32(around):
    conv, dtypes = nn.Conv2d(3, 4, 3), []
    conv.register_forward_hook(lambda *call: dtypes.append(call[-1].dtype))
    for precision in ("fp32", "bf16"):
        with torch.autocast("cpu", torch.bfloat16, enabled=around):
            (found,) = Features(lambda x: [conv(x)], precision)(torch.rand(1, 3, 8, 8))
        assert found.dtype == torch.float32
    assert dtypes == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("critics", ["fp32", "same"])
def test_the_setting_of_the_critics_reaches_the_discriminator(
    smoke_settings, tiny_networks, precision, critics
):
    changes = {"runtime.precision": precision, "runtime.critics": critics}
    trainer = tiny_networks.trainer("tokenizer", smoke_settings("vq", **changes))
    expected = precision if critics == "same" else "fp32"
    assert trainer.discriminator.precision == expected


def test_hinge_loss_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 1.0])
    assert hinge_discriminator(real, fake).item() == approx(0.5 * (0.5 / 2) + 0.5 * (2.0 / 2))


def test_tokenizer_and_discriminator_leave_each_other_alone(
    smoke_settings, tiny_networks, random_images
):
    trainer = tiny_networks.trainer("tokenizer", smoke_settings("vq"))
    batch = random_images(smoke_settings("vq")).batch(0)

    def weights(module):
        return [p.detach().clone() for p in module.parameters()]

    def same(module, before):
        return all(torch.equal(p, b) for p, b in zip(module.parameters(), before, strict=True))

    tokenizer, critic = trainer.tokenizer, trainer.discriminator
    before = weights(critic)
    trainer.update_tokenizer([batch], 5)
    assert same(critic, before) and all(p.grad is None for p in critic.parameters())
    assert all(p.requires_grad for p in critic.parameters())
    tokenizer.zero_grad()
    before = weights(tokenizer)
    trainer.update_discriminator([batch], [tokenizer(batch.images)[0]], 5)
    assert same(tokenizer, before) and all(p.grad is None for p in tokenizer.parameters())
    assert any(p.grad is not None and p.grad.any() for p in critic.parameters())


def test_without_gan_there_is_no_discriminator(smoke_settings, tiny_networks):
    trainer = tiny_networks.trainer("tokenizer", smoke_settings("vq", **{"loss.gan": 0.0}))
    assert set(trainer.exports()) == {"tokenizer", "live.tokenizer"}
    assert list(trainer.optimizers) == ["tokenizer"]


def test_lpips_names_the_file_that_it_needs():
    with pytest.raises(ValueError, match=r"loss.vgg16 \('nowhere.pth'\) is no file; name torchvis"):
        make_lpips("nowhere.pth")


@pytest.mark.filterwarnings("ignore:.*torchvision|.*pretrained|.*weight enum")
@pytest.mark.parametrize("name", ["torn", "features.0.weight"])
def test_lpips_refuses_another_file(tmp_path, name):
    path = tmp_path / "vgg16.pth"
    torch.save({name: torch.zeros(2)}, path)
    if name == "torn":
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="does not hold torchvision's VGG16 weights; name the fi"):
        make_lpips(str(path))
