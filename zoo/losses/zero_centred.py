"""Any GAN loss with a penalty on the judge's gradient. Torbunov et al. 2023, UVCGANv2, §3."""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from zoo.layers.adversarial import Adversarial
from zoo.layers.penalty import Point, norm_penalty, penalty_point
from zoo.registry import LOSSES, Part, UserError, part


@LOSSES.register("zero_centred")
class ZeroCentredLoss(Adversarial):
    """A GAN loss, and for D strength x mean of (|grad D(x)| - centre)^2 besides.

    Paper: Torbunov et al. 2023, "Rethinking CycleGAN", §3: least squares, centre 0, x between a
    real and a fake image. The published code takes one point of the line for a whole batch.
    """

    @dataclass(kw_only=True)
    class Config:
        """Defaults are the published ones for selfie2anime."""

        base: Part = part(LOSSES, "lsgan")
        strength: Annotated[float, "of the penalty: 0.01 to 1, by data set"] = 0.01
        at: Annotated[Point, "images that the gradient is taken at"] = "real-fake"
        centre: Annotated[float, "norm of the gradient that costs nothing"] = 0.0

        def __post_init__(self):
            if not issubclass(self.base.owner, Adversarial):
                raise UserError(
                    f"base is {self.base.name!r}, which is not a GAN loss; accepted are those "
                    f"that have two sides, such as 'lsgan'"
                )
            if self.strength <= 0:
                raise UserError(f"strength is {self.strength}; above 0, or use the base alone")

    def __init__(self, config: Config):
        super().__init__()
        self.base, self.strength = config.base.build(), config.strength
        self.at, self.centre = config.at, config.centre

    def fool(self, discriminator, fake, real) -> Tensor:
        """As the base."""
        return self.base.fool(discriminator, fake, real)

    def judge(self, discriminator, real, fake) -> dict[str, Tensor]:
        """The base's terms, and the penalty, of the uncompiled discriminator."""
        terms = self.base.judge(discriminator, real, fake)
        penalty = norm_penalty(discriminator, penalty_point(real, fake, self.at), self.centre)
        return {**terms, "penalty": self.strength * penalty}

    def after_step(self, *discriminators) -> None:
        """As the base."""
        self.base.after_step(*discriminators)

    def state(self) -> list[Tensor]:
        """As the base."""
        return self.base.state()

    def load(self, state: list[Tensor]) -> None:
        """As the base."""
        self.base.load(state)

    def generator_term(self, logits: Tensor) -> Tensor:
        """As the base."""
        return self.base.generator_term(logits)

    def real_term(self, logits: Tensor) -> Tensor:
        """As the base."""
        return self.base.real_term(logits)

    def fake_term(self, logits: Tensor) -> Tensor:
        """As the base."""
        return self.base.fake_term(logits)
