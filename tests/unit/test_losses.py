"""Losses against their equations."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo.layers.penalty import image_gradients
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


def test_minimax_generator_saturates():
    fake = torch.full((1, 1), -30.0, requires_grad=True)
    term = loss("gan_minimax").fool(Says(), fake, REAL)
    term.backward()
    assert term.item() == pytest.approx(math.log(1 - 1 / (1 + math.exp(30))), abs=1e-9)
    assert fake.grad.item() == pytest.approx(0, abs=1e-6)


def test_minimax_generator_minimises_what_the_discriminator_maximises():
    terms = loss("gan_minimax").judge(Says(), REAL, FAKE)
    assert loss("gan_minimax").fool(Says(), FAKE, REAL).item() == pytest.approx(
        -terms["fake"].item(), rel=1e-6
    )
    both = loss("gan_minimax").confuse(Says(), REAL, FAKE)
    assert both.item() == pytest.approx(-sum(terms.values()).item(), rel=1e-6)


def test_hinge():
    terms = loss("hinge").judge(Says(), REAL, FAKE)
    assert terms["real"].item() == pytest.approx((0.0 + 0.5) / 2)
    assert terms["fake"].item() == pytest.approx((0.0 + 4.0) / 2)
    assert loss("hinge").fool(Says(), FAKE, REAL).item() == pytest.approx(-1.0)


def test_relativistic_compares_with_the_other_sides_mean():
    terms = loss("relativistic").judge(Says(), REAL, FAKE)
    softplus = F.softplus
    assert terms["real"].item() == pytest.approx(softplus(-(REAL - 1.0)).mean().item(), rel=1e-6)
    assert terms["fake"].item() == pytest.approx(softplus(FAKE - 1.25).mean().item(), rel=1e-6)
    exchanged = softplus(REAL - 1.0).mean() + softplus(-(FAKE - 1.25)).mean()
    fool = loss("relativistic").fool(Says(), FAKE, REAL)
    assert fool.item() == pytest.approx(exchanged.item(), rel=1e-6)


def test_relativistic_ignores_what_all_logits_share():
    one = loss("relativistic").judge(Says(), REAL, FAKE)
    other = loss("relativistic").judge(Says(), REAL + 7, FAKE + 7)
    assert one["real"].item() == pytest.approx(other["real"].item(), rel=1e-5)


def test_wgan_is_the_difference_of_means():
    terms = loss("wgan").judge(Says(), REAL, FAKE)
    assert sum(terms.values()).item() == pytest.approx(1.0 - 1.25)
    assert loss("wgan").fool(Says(), FAKE, REAL).item() == pytest.approx(-1.0)


def test_wgan_clips_every_weight():
    critic = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    for parameter in critic.parameters():
        nn.init.uniform_(parameter, 0.1, 0.9)
        parameter.data.view(-1)[0] = -0.7
    loss("wgan", clip=0.25).after_step(critic)
    for parameter in critic.parameters():
        assert parameter.min() == -0.25
        assert parameter.abs().max() == 0.25


def test_local_gan_sums_patches_and_averages_images():
    class Patches(nn.Module):
        def forward(self, x):
            return Judgement((x,))

    x = torch.linspace(-2, 2, 2 * 3 * 4).view(2, 1, 3, 4)
    by_patch = F.softplus(-x)
    term = loss("local_gan").judge(Patches(), x, x)["real"]
    assert term.item() == pytest.approx(by_patch.sum().item() / 2, rel=1e-6)


class Critic(nn.Module):
    """A small network that is not linear in its two numbers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def forward(self, x):
        return Judgement((self.layers(x.flatten(1)),))


def points(n, shift, generator):
    x = torch.randn(n, 2, generator=generator) * 0.3
    return (x + torch.tensor([shift, 0.0])).view(n, 2, 1, 1)


def test_gradient_penalty_takes_the_norm_to_one():
    generator = torch.Generator().manual_seed(0)
    norms = {}
    for strength in (0.0, 10.0):
        torch.manual_seed(0)
        critic, gp = Critic(), loss("wgan_gp", strength=strength)
        optimizer = torch.optim.Adam(critic.parameters(), 1e-2, betas=(0.5, 0.9))
        for _ in range(300):
            real, fake = points(64, 2.0, generator), points(64, 0.0, generator)
            optimizer.zero_grad()
            sum(gp.judge(critic, real, fake).values()).backward()
            optimizer.step()
            gp.after_step(critic)
        between = (points(256, 2.0, generator) + points(256, 0.0, generator)) / 2
        norms[strength] = image_gradients(critic, between).flatten(1).norm(dim=1)
    assert norms[10.0].mean().item() == pytest.approx(1, abs=0.1)
    assert norms[10.0].std() < 0.2
    assert norms[0.0].mean() > 3  # without it nothing holds the norm


def test_wgan_gp_penalty_of_a_linear_critic():
    critic = nn.Linear(2, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[3.0, 4.0]]))
    judge = Critic()
    judge.layers = critic
    terms = loss("wgan_gp").judge(judge, torch.randn(5, 2, 1, 1), torch.randn(5, 2, 1, 1))
    assert terms["penalty"].item() == pytest.approx(10 * (5 - 1) ** 2, rel=1e-5)
    terms["penalty"].backward()
    want = 10 * 2 * (5 - 1) * torch.tensor([[3.0, 4.0]]) / 5
    assert torch.allclose(critic.weight.grad, want, rtol=1e-4)


def test_r1_is_half_the_squared_norm_at_reals():
    judge = Critic()
    judge.layers = nn.Linear(2, 1)
    with torch.no_grad():
        judge.layers.weight.copy_(torch.tensor([[3.0, 4.0]]))
    terms = loss("r1", strength=4.0).judge(judge, torch.randn(5, 2, 1, 1), torch.randn(5, 2, 1, 1))
    assert terms["penalty"].item() == pytest.approx(4 / 2 * 25, rel=1e-5)


@pytest.mark.parametrize("name", ["wgan_gp", "r1"])
def test_penalty_at_intervals_keeps_its_mean_and_its_count(name):
    judge, every, seldom = Critic(), loss(name), loss(name, interval=3)
    real, fake = torch.ones(2, 2, 1, 1), torch.zeros(2, 2, 1, 1)
    torch.manual_seed(0)
    full = loss(name).judge(judge, real, real)["penalty"].item()
    seen = []
    for step in range(7):
        seen.append(seldom.judge(judge, real, real)["penalty"].item())
        twice = seldom.judge(judge, real, fake)["penalty"].item()  # a second discriminator
        assert (twice > 0) == (seen[-1] > 0)
        seldom.after_step(judge, judge)
        if step == 1:  # what a resumed run takes back
            other = loss(name, interval=3)
            other.load(seldom.state())
            seldom = other
    assert [value > 0 for value in seen] == [True, False, False, True, False, False, True]
    assert seen[0] == pytest.approx(3 * full, rel=1e-5)
    assert every.state() == []


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
