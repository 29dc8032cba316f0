"""The two sides of an adversarial loss, whatever its equation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from zoo.layers.precision import full_precision
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

    def judge(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's terms, `{"real": …, "fake": …}`.

        Args:
            discriminator: returns a `Judgement`; sees the reals first, unless `fake_first`.
            real: N C H W in [-1, 1].
            fake: N C H W in [-1, 1], detached.
        """
        sides = {"real": (self.real_term, real), "fake": (self.fake_term, fake)}
        terms = {}
        for name in ("fake", "real") if self.fake_first else ("real", "fake"):
            term, images = sides[name]
            terms[name] = self._add(term, ask(discriminator, images, name))
        return {name: terms[name] for name in sides}

    def after_step(self, *discriminators: nn.Module) -> None:
        """What a loss asks of the weights after the discriminators' update; here nothing."""

    def generator_term(self, logits: Tensor) -> Tensor:
        """The generator's equation for one head's logits on fakes; a scalar."""
        raise NotImplementedError

    def real_term(self, logits: Tensor) -> Tensor:
        """The discriminator's equation for one head's logits on reals; a scalar."""
        raise NotImplementedError

    def fake_term(self, logits: Tensor) -> Tensor:
        """The discriminator's equation for one head's logits on fakes; a scalar."""
        raise NotImplementedError

    def _add(self, term, judgement: Judgement) -> Tensor:
        return torch.stack([term(full_precision(head)) for head in judgement.logits]).sum()
