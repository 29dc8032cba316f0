"""Penalties on the gradient of a discriminator with respect to the images that it judges."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from zoo.layers.adversarial import Adversarial
from zoo.layers.batch_values import once_a_batch
from zoo.layers.compiled import uncompiled
from zoo.layers.precision import full_precision
from zoo.schema import COUNT, NOT_NEGATIVE

Point = Literal["real", "fake", "real-fake"]


def image_gradients(discriminator: nn.Module, images: Tensor) -> Tensor:
    """The gradient of what a discriminator says with respect to each image, in float32.

    What it says of an image is the mean over each head's logits, summed over the heads, as in the
    losses themselves. The forward is not compiled, as compiled graphs cannot be gone through
    backward twice.

    Args:
        discriminator: returns a `Judgement`.
        images: N C H W.

    Returns:
        N C H W, with a graph that reaches the discriminator's parameters.
    """
    images = full_precision(images.detach()).requires_grad_()
    autocast = torch.autocast(images.device.type, enabled=False)
    with torch.enable_grad(), autocast, uncompiled(discriminator):
        judgement = discriminator(images)
        said = sum(head.flatten(1).mean(dim=1).sum() for head in judgement.logits)
        (gradients,) = torch.autograd.grad(said, images, create_graph=True)
    return gradients


def norm_penalty(discriminator: nn.Module, images: Tensor, centre: float) -> Tensor:
    """Mean over images of (|g| - centre)^2, with a graph; g is one of `image_gradients`.

    Args:
        discriminator: returns a `Judgement`.
        images: N C H W.
        centre: the norm that costs nothing.
    """
    norms = image_gradients(discriminator, images).flatten(1).norm(dim=1)
    return (norms - centre).square().mean()


def penalty_point(real: Tensor, fake: Tensor, where: Point) -> Tensor:
    """The images that UVCGANv2 takes the gradient at, detached (Torbunov et al. 2023).

    Args:
        real: N C H W.
        fake: N C H W.
        where: one side, or alpha real + (1 - alpha) fake with one alpha in [0, 1) for the batch.
    """
    if where == "real-fake":
        alpha = once_a_batch(lambda: torch.rand(1, dtype=real.dtype, device=real.device))
        return (alpha * real + (1 - alpha) * fake).detach()
    return (real if where == "real" else fake).detach()


class Penalised(Adversarial):
    """A GAN loss whose discriminator pays for its gradient; a subclass gives `penalty`.

    The penalty is weighed by `strength`, and by `interval` where it is left out in between, so that
    its mean over steps stays the same (lazy regularisation, Karras et al. 2020, StyleGAN2, §3.1).
    """

    @dataclass(kw_only=True)
    class Config:
        """How much and how often; a subclass has the published strength."""

        strength: Annotated[float, "weight of the penalty beside the loss", NOT_NEGATIVE] = 10.0
        interval: Annotated[int, "steps from one penalty to the next; 1: every step", COUNT] = 1

    def __init__(self, config: Config):
        super().__init__()
        self.strength, self.interval = config.strength, config.interval
        self.steps = 0

    def penalty(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """The mean over images, with a graph; a scalar."""
        raise NotImplementedError

    def judge(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The terms of the loss, and `"penalty"`, which is 0 in the steps in between."""
        terms = super().judge(discriminator, real, fake)
        if self.strength and self.steps % self.interval == 0:
            share = self.strength * self.interval
            terms["penalty"] = share * self.penalty(discriminator, real, fake)
        else:
            terms["penalty"] = torch.zeros_like(terms["real"])
        return terms

    def after_step(self, *discriminators: nn.Module) -> None:
        """Count the step."""
        self.steps += 1

    def state(self) -> list[Tensor]:
        """The steps done, where they matter."""
        return [torch.tensor(self.steps)] if self.interval > 1 else []

    def load(self, state: list[Tensor]) -> None:
        """Take back what `state` returned."""
        self.steps = int(state[0])
