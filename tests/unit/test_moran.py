"""Moran's I on grids worked by hand, and against its definition with a weight matrix."""

import pytest
import torch

from gear.analysis.moran import morans_i


def grid(rows):
    """One image of one channel."""
    return torch.tensor(rows, dtype=torch.float64).reshape(1, -1, 1)


def by_definition(x_ND):
    """(N / W) z' w z / z'z with the rook's weights, a channel at a time."""
    side = int(len(x_ND) ** 0.5)
    place = torch.stack(torch.meshgrid(*[torch.arange(side)] * 2, indexing="ij"), -1).view(-1, 2)
    w = ((place[:, None] - place[None]).abs().sum(-1) == 1).double()
    z = x_ND.double() - x_ND.double().mean(0)
    return (len(z) / w.sum() * (z * (w @ z)).sum(0) / z.square().sum(0)).mean()


def test_by_hand():
    # 1 to 9: products of neighbours 36 across and 4 down, squares 60: 9 / 24 * 2 * 40 / 60
    assert morans_i(grid([[1, 2, 3], [4, 5, 6], [7, 8, 9]])).item() == pytest.approx(0.5)
    # the middle alone: z is 8/9 there and -1/9 elsewhere; 4 edges of -8/81 and 8 of 1/81
    middle = morans_i(grid([[0, 0, 0], [0, 1, 0], [0, 0, 0]])).item()
    assert middle == pytest.approx(9 / 12 * (-24 / 81) / (72 / 81))


@pytest.mark.parametrize("side", [2, 4, 16])
def test_a_checkerboard_is_minus_one(side):
    place = torch.arange(side)
    board = (-1.0) ** (place[:, None] + place[None])
    assert morans_i(grid((5 + 3 * board).tolist())).item() == pytest.approx(-1)


def test_a_gradient_tends_to_one_and_noise_to_none():
    values = []
    for side in (4, 16, 64):
        place = torch.arange(side, dtype=torch.float64)
        values.append(morans_i(grid((place[:, None] + place[None]).tolist())).item())
    assert values == sorted(values) and values[-1] == pytest.approx(1, abs=0.04)
    noise = torch.randn(400, 64, 8)
    assert morans_i(noise).mean().item() == pytest.approx(-1 / 63, abs=0.005)


def test_is_its_definition_for_every_image():
    x = torch.randn(3, 25, 4)
    x[0, :, 1] *= 100
    expected = [by_definition(image).item() for image in x]
    assert morans_i(x).tolist() == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(morans_i(-3 * x + 50), morans_i(x), rtol=0, atol=1e-5)


def test_constant_channels_are_left_out():
    x = torch.randn(2, 16, 3)
    x[0, :, 1] = 7.3
    x[1] = x[1, :1]
    found = morans_i(x)
    assert found[0].item() == pytest.approx(by_definition(x[0, :, [0, 2]]).item())
    assert found[1].isnan()


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="12 positions are no square grid"):
        morans_i(torch.randn(1, 12, 2))
    with pytest.raises(ValueError, match="NaN or infinite"):
        morans_i(torch.full((1, 16, 2), torch.nan))
