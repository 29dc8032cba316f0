"""The two sides of an adversarial loss, whatever its equation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.layers.together import together
from zoo.protocols import Judgement


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Networks that only judge: graphs built inside give their parameters no gradient."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def ask(discriminator: nn.Module, images: Tensor, origin: str) -> Judgement:
    """The judgement of images of one origin, "real" or "fake".

    Only a discriminator with an attribute `remembers` is told the origin; it learns from it which
    earlier images belong beside these.
    """
    if getattr(discriminator, "remembers", False):
        return discriminator(images, origin)
    return discriminator(images)


class Adversarial(nn.Module):
    """Base of the GAN losses; a subclass gives the equations for one head's logits.

    A discriminator may have several heads (`Judgement.logits`); their terms are added.

    Attributes:
        fake_first: the discriminator sees the fakes before the reals. The order moves its batch
            statistics and spectral vectors; a method sets it where the published one is so.
    """

    offers = frozenset({"adversarial"})
    fake_first = False

    def fool(self, discriminator: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
        """The generator's term, through the frozen discriminator.

        Args:
            discriminator: returns a `Judgement`.
            fake: N C H W in [-1, 1], with the generator's graph.
            real: N C H W; only relativistic losses look at it.
        """
        with frozen(discriminator):
            judgement = ask(discriminator, fake, "fake")
        return self._add(self.generator_term, judgement)

    def confuse(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """The generators' term where they made both sides: real is to pass as fake, and vice versa.

        Args:
            discriminator: returns a `Judgement`.
            real: N C H W, with the graph of the generator that made its part of it.
            fake: N C H W, likewise.
        """
        with frozen(discriminator):
            as_fake = ask(discriminator, real, "real")
            as_real = ask(discriminator, fake, "fake")
        return self._add(self.reverse_term, as_fake) + self._add(self.generator_term, as_real)

    def judge(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's terms, `{"real": …, "fake": …}`, and `"penalty"` where there is one.

        Args:
            discriminator: returns a `Judgement`; sees the reals first, unless `fake_first`.
            real: N C H W in [-1, 1].
            fake: N C H W in [-1, 1], detached.
        """
        about_real, about_fake = self.ask_both(discriminator, real, fake)
        return {
            "real": self._add(self.real_term, about_real),
            "fake": self._add(self.fake_term, about_fake),
        }

    def ask_both(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Judgement, Judgement]:
        """The judgements of the reals and of the fakes, asked for in the published order."""
        sides = {"real": real, "fake": fake}
        order = ("fake", "real") if self.fake_first else ("real", "fake")
        if getattr(discriminator, "remembers", False):
            said = {origin: discriminator(sides[origin], origin) for origin in order}
        else:
            answers = together(discriminator, *(sides[origin] for origin in order))
            said = dict(zip(order, answers, strict=True))
        return said["real"], said["fake"]

    def after_step(self, *discriminators: nn.Module) -> None:
        """What a loss asks of the weights after the discriminators' update; here nothing.

        Methods call it once after every update of their discriminators, with all of them.
        """

    def state(self) -> list[Tensor]:
        """What a resumed run needs beside weights and buffers; here nothing."""
        return []

    def load(self, state: list[Tensor]) -> None:
        """Take back what `state` returned."""

    def generator_term(self, logits: Tensor) -> Tensor:
        """The generator's equation for one head's logits on fakes; a scalar."""
        raise NotImplementedError

    def real_term(self, logits: Tensor) -> Tensor:
        """The discriminator's equation for one head's logits on reals; a scalar."""
        raise NotImplementedError

    def fake_term(self, logits: Tensor) -> Tensor:
        """The discriminator's equation for one head's logits on fakes; a scalar."""
        raise NotImplementedError

    def reverse_term(self, logits: Tensor) -> Tensor:
        """The generator's equation for one head's logits on what is to pass as fake; a scalar."""
        return self.fake_term(logits)

    def _add(self, term, judgement: Judgement) -> Tensor:
        return torch.stack([term(full_precision(head)) for head in judgement.logits]).sum()
