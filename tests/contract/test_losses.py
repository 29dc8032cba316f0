"""What every registered loss must do."""

import pytest
import torch
from torch import nn

from tests.contract.variants import variants
from zoo.layers.adversarial import Adversarial
from zoo.protocols import Judgement
from zoo.registry import LOSSES

ALL = {name: cls(config) for name, (cls, config) in variants(LOSSES).items()}
ADVERSARIAL = {name: loss for name, loss in ALL.items() if isinstance(loss, Adversarial)}
ON_IMAGES = {"vgg_features"}  # others take numbers in any shape
PLAIN = {n: loss for n, loss in ALL.items() if n not in ADVERSARIAL and n not in ON_IMAGES}
RELATIVE = {"relativistic"}  # whose terms look at both sides
ABSOLUTE = {name: loss for name, loss in ADVERSARIAL.items() if name not in RELATIVE}


class Critic(nn.Module):
    """A discriminator with two heads that remembers what it was shown."""

    heads = ("sum", "scaled")

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        logits = self.scale * x.flatten(1).mean(dim=1, keepdim=True)
        return Judgement((logits, 2 * logits + 0.1))


def images(value, n=3):
    return torch.linspace(value - 0.1, value + 0.1, n * 12).view(n, 3, 2, 2)


@pytest.mark.parametrize("loss", ABSOLUTE.values(), ids=ABSOLUTE)
class TestAbsolute:
    def test_real_term_reads_the_real_images_only(self, loss):
        first = loss.judge(Critic(), images(0.8), images(-0.3))
        other_fake = loss.judge(Critic(), images(0.8), images(0.6))
        other_real = loss.judge(Critic(), images(-0.5), images(-0.3))
        assert first["real"] == other_fake["real"] != other_real["real"]
        assert first["fake"] == other_real["fake"] != other_fake["fake"]

    def test_reals_are_judged_before_fakes(self, loss):
        critic, real, fake = Critic(), images(0.8), images(-0.3)
        loss.judge(critic, real, fake)
        assert [x is y for x, y in zip(critic.seen[:2], (real, fake), strict=True)] == [True, True]

    def test_heads_are_added(self, loss):
        one, two = Critic(), Critic()
        one.forward = lambda x: Judgement(two(x).logits[:1])
        only_first = loss.judge(one, images(0.8), images(-0.3))["real"]
        second = loss.real_term(two(images(0.8)).logits[1])
        both = loss.judge(two, images(0.8), images(-0.3))["real"]
        assert both.item() == pytest.approx((only_first + second).item(), rel=1e-6)

    def test_confusing_both_sides_is_fooling_and_its_reverse(self, loss):
        critic = Critic()
        both = loss.confuse(critic, images(0.8), images(-0.3))
        reverse = sum(loss.reverse_term(head) for head in critic(images(0.8)).logits)
        assert both.item() == pytest.approx(
            (loss.fool(critic, images(-0.3), images(0.8)) + reverse).item(), rel=1e-6
        )


@pytest.mark.parametrize("loss", ADVERSARIAL.values(), ids=ADVERSARIAL)
class TestAdversarial:
    def test_reals_are_judged_before_fakes(self, loss):
        critic, real, fake = Critic(), images(0.8), images(-0.3)
        loss.judge(critic, real, fake)
        assert [x is y for x, y in zip(critic.seen[:2], (real, fake), strict=True)] == [True, True]

    def test_confusing_moves_both_sides_and_not_the_discriminator(self, loss):
        critic = Critic()
        real, fake = images(0.8).requires_grad_(), images(-0.3).requires_grad_()
        loss.confuse(critic, real, fake).backward()
        assert critic.scale.requires_grad
        assert critic.scale.grad is None
        with torch.no_grad():  # a step against the gradient makes the sides harder to tell apart
            assert (critic(fake - fake.grad).logits[0] > critic(fake).logits[0]).all()
            assert (critic(real - real.grad).logits[0] < critic(real).logits[0]).all()

    def test_fooling_moves_the_fake_and_not_the_discriminator(self, loss):
        critic, fake = Critic(), images(-0.3).requires_grad_()
        term = loss.fool(critic, fake, images(0.8))
        assert critic.scale.requires_grad
        term.backward()
        assert critic.scale.grad is None
        assert fake.grad.abs().max() > 0
        # a step against the gradient makes the discriminator say "real" more
        before, after = critic(fake), critic(fake - fake.grad)
        assert (after.logits[0] > before.logits[0]).all()

    def test_judging_separates_real_from_fake(self, loss):
        critic = Critic()
        terms = loss.judge(critic, images(0.8), images(-0.3))
        (terms["real"] + terms["fake"]).backward()
        assert critic.scale.grad < 0  # a larger scale separates better

    def test_is_float32_under_autocast(self, loss):
        critic = Critic()
        critic.forward = lambda x: Judgement(
            (3.01 * x.flatten(1).mean(1, keepdim=True).bfloat16(),)
        )
        real, fake = images(0.8), images(-0.3)
        with torch.autocast("cpu", torch.bfloat16):
            terms = [loss.fool(critic, fake, real), *loss.judge(critic, real, fake).values()]
        assert {term.dtype for term in terms} == {torch.float32}

    def test_keeps_float64(self, loss):
        critic = Critic().double()
        assert loss.fool(critic, images(0).double(), images(1).double()).dtype == torch.float64


@pytest.mark.parametrize("loss", PLAIN.values(), ids=PLAIN)
class TestPlain:
    def test_is_a_scalar_with_gradients(self, loss):
        x, y = (torch.randn(2, 4, 3).requires_grad_() for _ in range(2))
        value = loss(x, y)
        value.backward()
        assert value.ndim == 0
        assert value >= 0
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().max() > 0

    def test_is_float32_under_autocast(self, loss):
        x, y = torch.randn(2, 2, 4, 3).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            assert loss(x, y).dtype == torch.float32

    def test_does_not_depend_on_how_often_an_image_is_repeated(self, loss):
        x, y = torch.randn(2, 2, 4, 3)
        again = loss(x.repeat(3, 1, 1), y.repeat(3, 1, 1))
        assert again.item() == pytest.approx(loss(x, y).item(), rel=1e-5)
