"""LPIPS from a file of torchvision's VGG16 weights, against the formula written out."""

import pytest
import torch

from gear.tokenizer.losses import make_lpips

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("paper")]  # one at a time: memory

# conv1_2, conv2_2, conv3_3, conv4_3, conv5_3 after their ReLU, as torchvision numbers them
TAPS = (3, 8, 15, 22, 29)


def test_lpips_reads_the_file_and_is_the_weighted_distance(vgg16):
    from torchvision.models import vgg16 as make_vgg16

    metric = make_lpips(str(vgg16))
    network = make_vgg16()
    network.load_state_dict(torch.load(vgg16, weights_only=True))
    torch.manual_seed(1)
    x, y = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    mean = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    std = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    a, b, total = (x - mean) / std, (y - mean) / std, 0
    heads = {k: v for k, v in metric.state_dict().items() if k.startswith("lin")}
    with torch.no_grad():
        for number, layer in enumerate(network.features):
            a, b = layer(a), layer(b)
            if number in TAPS:
                unit_a, unit_b = (t / t.square().sum(1, keepdim=True).sqrt() for t in (a, b))
                weight = heads[f"lin{TAPS.index(number)}.model.1.weight"]
                assert (weight >= 0).all() and weight.any()
                total = total + ((unit_a - unit_b).square() * weight).sum(1).mean((1, 2))
        found = metric(x, y).flatten()
    torch.testing.assert_close(found, total, rtol=1e-4, atol=1e-6)
    assert not metric.training and not any(p.requires_grad for p in metric.parameters())


def test_lpips_in_bfloat16_is_within_its_tolerance(vgg16):
    """The tolerances of tests/unit/test_tokenizer.py; docs/engineering.md has what was measured."""
    metric = make_lpips(str(vgg16))
    torch.manual_seed(1)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    y, found = (x + 0.3 * torch.randn_like(x)).requires_grad_(), []
    for metric.net.precision in ("fp32", "bf16"):
        value = metric(y, x).mean()
        assert value.dtype == torch.float32
        found.append((value.detach(), *torch.autograd.grad(value, y)))
    pairs = zip(*found, strict=True)
    value, gradient = (((b - a).norm() / a.norm()).item() for a, b in pairs)
    assert 0 < value < 5e-3 and 0 < gradient < 0.25
