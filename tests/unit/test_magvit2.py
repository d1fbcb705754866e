"""Open-MAGVIT2's network, against its operations written out by hand."""

import pytest
import torch
import torch.nn.functional as F

from gear.tokenizer import magvit2
from gear.tokenizer.losses import tokenizer_loss

MAGVIT2 = {"tokenizer.network": "magvit2", "tokenizer.z_channels": 4}
BLOCKS = {"tokenizer.encoder_blocks": 2, "tokenizer.decoder_blocks": 3}


@pytest.fixture
def tokenizer(smoke_settings, tiny_networks):
    """8, 8 and 16 channels; no parameter is at its initial 0 or 1."""
    made = tiny_networks.tokenizer(smoke_settings("lfq", **MAGVIT2, **BLOCKS)).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.3)
    return made


class ByHand:
    """The network as functions of its state dict, in float64."""

    def __init__(self, module, groups):
        self.w = {k: v.detach().double() for k, v in module.state_dict().items()}
        self.groups, self.used = groups, set()

    def get(self, name):
        self.used.add(name)
        return self.w[name]

    def conv(self, name, x, bias=True, **options):
        return F.conv2d(
            x, self.get(f"{name}.weight"), self.get(f"{name}.bias") if bias else None, **options
        )

    def normed(self, x):
        y = x.reshape(x.shape[0], self.groups, -1)
        variance = (y - y.mean(-1, keepdim=True)).square().mean(-1, keepdim=True)
        return ((y - y.mean(-1, keepdim=True)) / (variance + 1e-6).sqrt()).reshape(x.shape)

    def act(self, name, x):
        weight, bias = self.get(f"{name}.weight"), self.get(f"{name}.bias")
        y = self.normed(x) * weight[:, None, None] + bias[:, None, None]
        return y / (1 + (-y).exp())

    def blocks(self, name, x, count):
        for i in range(count):
            at = f"{name}.{i}"
            y = self.conv(f"{at}.conv1", self.act(f"{at}.norm1", x), False, padding=1)
            y = self.conv(f"{at}.conv2", self.act(f"{at}.norm2", y), False, padding=1)
            wider = y.shape[1] != x.shape[1]
            x = (self.conv(f"{at}.skip", x, False) if wider else x) + y
        return x

    def adapted(self, name, x, code):
        mean = code.mean((2, 3))
        squares = (code - mean[:, :, None, None]).square().sum((2, 3))
        deviation = (squares / (code[0, 0].numel() - 1) + 1e-6).sqrt()
        scale = deviation @ self.get(f"{name}.scale.weight").T + self.get(f"{name}.scale.bias")
        shift = mean @ self.get(f"{name}.shift.weight").T + self.get(f"{name}.shift.bias")
        return self.normed(x) * scale[:, :, None, None] + shift[:, :, None, None]

    def up(self, name, x):
        wide = self.conv(f"{name}.conv", x, padding=1)
        B, C, h, w = x.shape
        y = x.new_zeros(B, C, 2 * h, 2 * w)
        for row in range(2):
            for column in range(2):
                first = (2 * row + column) * C  # DCR: the channel counts fastest
                y[:, :, row::2, column::2] = wide[:, first : first + C]
        return y


def test_the_encoder_by_hand(tokenizer):
    hand = ByHand(tokenizer.encoder, 4)
    x = torch.randn(2, 1, 16, 16)
    h = hand.conv("conv_in", x.double(), False, padding=1)
    for level in range(3):
        h = hand.blocks(f"levels.{level}", h, 2)
        if level < 2:
            h = hand.conv(f"down.{level}", h, stride=2, padding=1)
    h = hand.conv("conv_out", hand.act("norm_out", hand.blocks("middle", h, 2)))
    assert hand.used == set(hand.w) and h.shape == (2, 4, 4, 4)
    torch.testing.assert_close(tokenizer.encoder(x).double(), h, rtol=1e-4, atol=1e-5)
    flat = h.flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokenizer.encode(x).double(), flat, rtol=1e-4, atol=1e-5)


def test_the_decoder_by_hand(tokenizer):
    hand = ByHand(tokenizer.decoder, 4)
    indices = torch.randint(16, (2, 16))
    grid = tokenizer.quantizer.lookup(indices).transpose(1, 2).reshape(2, 4, 4, 4)
    code = grid.double().requires_grad_()
    h = hand.blocks("middle", hand.conv("conv_in", code, padding=1), 3)
    for level in range(3):
        h = hand.adapted(f"adaptive.{level}", h, code)
        h = hand.blocks(f"levels.{level}", h, 3)
        if level < 2:
            h = hand.up(f"up.{level}", h)
    h = hand.conv("conv_out", hand.act("norm_out", h), padding=1)
    assert hand.used == set(hand.w) and h.shape == (2, 1, 16, 16)
    torch.testing.assert_close(tokenizer.decode(indices).double(), h, rtol=1e-4, atol=1e-5)
    # the code's own gradient too, which reaches it by the norms as well
    h.sum().backward()
    grid.requires_grad_()
    tokenizer.decoder(grid).sum().backward()
    torch.testing.assert_close(grid.grad.double(), code.grad, rtol=1e-3, atol=1e-3)


def test_depth_to_space_is_not_pixel_shuffle():
    """A pixel's four values lie apart by the number of channels, as in ONNX's DCR."""
    up = magvit2.Up(3)
    up.conv = torch.nn.Identity()
    x = torch.arange(12.0)[None, :, None, None]
    assert up(x)[0].tolist() == [[[c, c + 3], [c + 6, c + 9]] for c in (0.0, 1.0, 2.0)]


def test_reconstruction_reaches_every_parameter(tokenizer, smoke_settings):
    """The scale and the shift of the decoder's norms and, through the code, the encoder."""
    settings = smoke_settings("lfq", **MAGVIT2)
    x = torch.randn(2, 1, 16, 16)
    recon, quantized = tokenizer(x)
    _, parts = tokenizer_loss(x, recon, quantized, settings.loss)
    parts["l1"].backward()
    assert [n for n, p in tokenizer.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_frozen_use_gives_the_same_tokens_and_images(tokenizer):
    x = torch.randn(4, 1, 16, 16)
    recon, quantized = tokenizer(x)
    assert len(quantized.indices_BN.unique()) > 1
    assert torch.equal(tokenizer.tokens(x), quantized.indices_BN)
    torch.testing.assert_close(tokenizer.decode(quantized.indices_BN), recon, atol=1e-5, rtol=1e-5)
