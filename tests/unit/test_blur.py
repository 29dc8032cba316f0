"""Sampling without aliasing."""

import pytest
import torch

from zoo.layers.blur import BlurDown, BlurUp


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (2, 3)])
def test_sizes(size):
    x = torch.randn(2, 3, *size)
    assert BlurDown(3)(x).shape == (2, 3, -(-size[0] // 2), -(-size[1] // 2))
    assert BlurUp(3)(x).shape == (2, 3, 2 * size[0], 2 * size[1])


@pytest.mark.parametrize("layer", [BlurDown(2), BlurUp(2)])
def test_a_flat_image_stays_flat(layer):
    x = torch.tensor([0.3, -0.7])[None, :, None, None].expand(1, 2, 6, 6)
    y = layer(x)
    assert torch.allclose(y, y[:, :, :1, :1].expand_as(y), atol=1e-6)
    assert torch.allclose(y[0, :, 0, 0], x[0, :, 0, 0], atol=1e-6)


def test_the_finest_stripes_vanish_instead_of_aliasing():
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    assert stripes[:, :, ::2, ::2].abs().min() == 1
    assert BlurDown(1)(stripes)[:, :, 1:-1, 1:-1].abs().max() < 1e-6


def test_channels_do_not_mix():
    x = torch.zeros(1, 2, 8, 8)
    x[0, 0] = torch.randn(8, 8)
    for layer in (BlurDown(2), BlurUp(2)):
        y = layer(x)
        assert y[0, 0].abs().max() > 0
        assert y[0, 1].abs().max() == 0


def test_up_is_a_symmetric_interpolation():
    x = torch.randn(1, 1, 5, 5, dtype=torch.float64)
    layer = BlurUp(1).double()
    assert torch.allclose(layer(x).flip(3), layer(x.flip(3)))
    inner = layer(x)[0, 0, 4, 5]  # between pixels (2, 2) and (1, 3): weights 9, 3, 3, 1 of 16
    expected = (9 * x[0, 0, 2, 2] + 3 * x[0, 0, 1, 2] + 3 * x[0, 0, 2, 3] + x[0, 0, 1, 3]) / 16
    assert inner.item() == pytest.approx(expected.item(), rel=1e-9)
