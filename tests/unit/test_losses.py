"""Losses against their equations."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo.protocols import Judgement
from zoo.registry import LOSSES


def loss(name, **options):
    cls = LOSSES[name]
    return cls(cls.Config(**options))


class Says(nn.Module):
    """A discriminator whose logits are the first numbers of each image."""

    def forward(self, x):
        return Judgement((x[:, 0],))


REAL, FAKE = torch.tensor([[2.0], [0.5]]), torch.tensor([[-1.0], [3.0]])


def test_lsgan():
    terms = loss("lsgan").judge(Says(), REAL, FAKE)
    assert terms["real"].item() == pytest.approx((1.0 + 0.25) / 2)
    assert terms["fake"].item() == pytest.approx((1.0 + 9.0) / 2)
    assert loss("lsgan").fool(Says(), FAKE, REAL).item() == pytest.approx((4.0 + 4.0) / 2)


def test_lsgan_is_zero_where_the_discriminator_is_right():
    terms = loss("lsgan").judge(Says(), torch.ones(3, 1), torch.zeros(3, 1))
    assert sum(terms.values()).item() == 0


def test_gan_is_cross_entropy_on_logits():
    terms = loss("gan").judge(Says(), REAL, FAKE)
    entropy = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(2, 1), torch.zeros(2, 1)
    assert terms["real"].item() == pytest.approx(entropy(REAL, ones).item(), rel=1e-6)
    assert terms["fake"].item() == pytest.approx(entropy(FAKE, zeros).item(), rel=1e-6)
    fool = loss("gan").fool(Says(), FAKE, REAL)
    assert fool.item() == pytest.approx(entropy(FAKE, ones).item(), rel=1e-6)


def test_gan_generator_does_not_saturate():
    fake = torch.full((1, 1), -30.0, requires_grad=True)
    loss("gan").fool(Says(), fake, REAL).backward()
    assert fake.grad.item() == pytest.approx(-1, abs=1e-6)


def test_gan_is_finite_for_huge_logits():
    terms = loss("gan").judge(Says(), torch.tensor([[-1e4]]), torch.tensor([[1e4]]))
    assert terms["real"].item() == terms["fake"].item() == 1e4


@pytest.mark.parametrize("name", ["cycle", "identity"])
def test_distances_are_means_over_all_elements(name):
    x, y = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    y[0, 0, 0, 0] = -0.5
    assert loss(name)(x, y).item() == pytest.approx(0.5)
    assert loss(name, distance="l2")(x, y).item() == pytest.approx(0.25)
    assert loss(name)(y, y).item() == 0


def test_cam_wants_ones_for_the_source_and_zeros_for_the_target():
    cam = loss("cam")
    source, target = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 4.0]])
    entropy = F.binary_cross_entropy_with_logits
    want = entropy(source, torch.ones(1, 2)) + entropy(target, torch.zeros(1, 2))
    assert cam(source, target).item() == pytest.approx(want.item(), rel=1e-6)
    undecided = torch.zeros(4, 2)
    assert cam(undecided, undecided).item() == pytest.approx(2 * math.log(2))
    assert cam(undecided + 30, undecided - 30).item() == pytest.approx(0, abs=1e-9)
