"""The average of the weights that translate."""

import pytest
import torch
from torch import nn

from zoo.ema import Ema


def net_of(value):
    net = nn.Linear(2, 3)
    for p in net.parameters():
        nn.init.constant_(p, value)
    return net


def test_constant_weights_stay():
    net = net_of(0.7)
    ema = Ema([net], 100)
    for _ in range(5):
        ema.move(8)
    assert all(torch.equal(mine, p) for mine, p in zip(ema.state(), net.parameters(), strict=True))


@pytest.mark.parametrize("images", [1, 4, 50])
def test_halflife_in_images_whatever_the_batch(images):
    """From 0 to 1: after h images a half, after t images 1 - 2^(-t/h)."""
    net = net_of(0.0)
    ema = Ema([net], 100)
    nn.init.ones_(net.weight)
    for moved in range(images, 201, images):
        ema.move(images)
        expected = 1 - 0.5 ** (moved / 100)
        assert ema.state()[0].flatten().tolist() == pytest.approx([expected] * 6, rel=1e-5)


def test_moving_weights_by_the_recurrence():
    torch.manual_seed(0)
    net = nn.Linear(2, 3).double()
    ema, expected = Ema([net], 30), [p.detach().clone() for p in net.parameters()]
    for _ in range(6):
        with torch.no_grad():
            for i, p in enumerate(net.parameters()):
                p.add_(torch.randn_like(p))
                expected[i] = 0.5 ** (4 / 30) * expected[i] + (1 - 0.5 ** (4 / 30)) * p
        ema.move(4)
    for mine, theirs in zip(ema.state(), expected, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-12, atol=0)


def test_swapping_twice_changes_nothing():
    net = net_of(1.0)
    ema = Ema([net], 10)
    nn.init.constant_(net.weight, 3.0)
    ema.move(10)
    ema.swap()
    assert net.weight[0, 0] == 2
    assert ema.state()[0][0, 0] == 3
    ema.swap()
    assert net.weight[0, 0] == 3
    assert ema.state()[0][0, 0] == 2


def test_a_shared_network_is_averaged_and_swapped_once():
    shared = net_of(1.0)
    ema = Ema([shared, nn.Sequential(shared)], 10)
    assert len(ema.state()) == 2
    nn.init.constant_(shared.weight, 3.0)
    ema.swap()
    assert shared.weight[0, 0] == 1


def test_restart_and_load():
    net = net_of(1.0)
    ema, other = Ema([net], 10), Ema([net_of(5.0)], 10)
    nn.init.constant_(net.weight, 4.0)
    ema.restart()
    assert ema.state()[0][0, 0] == 4
    ema.load(other.state())
    assert ema.state()[0][0, 0] == 5
    assert net.weight[0, 0] == 4
