"""The high-frequency share of pure waves, which is known, and what must not change it."""

import math

import pytest
import torch

from gear.analysis.spectrum import high_frequency_share

SIDE = 16


def wave(down, right, amplitude=1.0, side=SIDE):
    """(1, side^2, 1): a cosine of so many periods over the grid."""
    place = torch.arange(side, dtype=torch.float64)
    angle = 2 * math.pi * (down * place[:, None] + right * place[None]) / side
    return amplitude * (angle + 0.3).cos().reshape(1, -1, 1)


@pytest.mark.parametrize(
    ("periods", "expected"),
    [
        ((0, 1), 0), ((2, 0), 0), ((0, 4), 0),  # 4 of 16 is 0.25, not above it
        ((0, 5), 1), ((7, 0), 1), ((8, 8), 1),
        ((2, 3), 0), ((3, 3), 1),  # radii 0.225 and 0.265
        ((3, -3), 1), ((-1, 2), 0),
    ],
)  # fmt: skip
def test_a_pure_wave_is_on_one_side(periods, expected):
    assert high_frequency_share(wave(*periods)).item() == pytest.approx(expected, abs=1e-12)


def test_energies_add_and_the_mean_does_not_count():
    mixed = wave(0, 2, 3.0) + wave(6, 0, 1.5) + 40
    expected = 1.5**2 / (1.5**2 + 3.0**2)
    assert high_frequency_share(mixed).item() == pytest.approx(expected)
    channels = torch.cat([wave(0, 2, 3.0), wave(6, 0, 1.5)], -1)
    assert high_frequency_share(channels).item() == pytest.approx(expected)
    rotation = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    assert high_frequency_share(channels @ rotation).item() == pytest.approx(expected)
    assert high_frequency_share(-7 * mixed.float()).item() == pytest.approx(expected, abs=1e-5)


def test_cutoff_moves_the_border():
    low, high = (high_frequency_share(wave(0, 3), cutoff).item() for cutoff in (0.1, 0.2))
    assert (round(low, 9), round(high, 9)) == (1, 0)


def test_noise_has_the_share_of_its_frequencies():
    f = torch.fft.fftfreq(SIDE)
    beyond = ((f[:, None] ** 2 + f[None] ** 2).sqrt() > 0.25).float()
    expected = beyond.sum().item() / (SIDE**2 - 1)  # all but frequency 0
    found = high_frequency_share(torch.randn(50, SIDE**2, 32))
    assert found.mean().item() == pytest.approx(expected, abs=0.005)


def test_images_are_apart_and_constant_ones_have_no_value():
    three = torch.cat([wave(0, 1), wave(0, 7), torch.full((1, SIDE**2, 1), 3.3)])
    found = high_frequency_share(three)
    assert found[:2].tolist() == pytest.approx([0, 1], abs=1e-12) and found[2].isnan()


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="cut-off is 0.8 cycles per token; set analysis.cutoff"):
        high_frequency_share(wave(0, 1), 0.8)
    with pytest.raises(ValueError, match="15 positions are no square grid"):
        high_frequency_share(torch.randn(1, 15, 2))
    with pytest.raises(ValueError, match="NaN or infinite"):
        high_frequency_share(wave(0, 1) * torch.nan)
