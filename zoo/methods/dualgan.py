"""DualGAN.

Paper: Yi et al. 2017, "DualGAN: Unsupervised Dual Learning for Image-to-Image Translation". The
terms are CycleGAN's without identity; what differs is the training: Wasserstein critics with
clipped weights, several updates of theirs for each of the generators' (Algorithm 1), RMSProp. The
modern form has `adversarial: wgan_gp` and Adam. Noise comes from dropout alone, where a generator
has it.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch

from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, part
from zoo.schema import COUNT, PerDirection, PerDomain


@METHODS.register("dualgan")
class DualGAN(Method):
    """Dual learning with Wasserstein critics. Paper: Yi et al. 2017."""

    directions = ("a2b", "b2a")

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights; the published ones."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts."""

            adversarial: Annotated[PerDirection, "Eq. 3"] = PerDirection(1)
            cycle: Annotated[PerDomain, "lambda_U, lambda_V of Eq. 3; as in the code"] = PerDomain(
                20
            )
            discriminator: Annotated[PerDomain, "Eqs. 1 and 2"] = PerDomain(1)

        generator: Part = part(GENERATORS, "resnet")
        discriminator: Part = part(DISCRIMINATORS, "patch")
        adversarial: Part = part(LOSSES, "wgan", needs={"adversarial"})
        cycle: Part = part(LOSSES, "cycle")
        weights: Weights = field(default_factory=Weights)
        discriminator_steps: Annotated[
            int, "updates of the critics for one of the generators, each with a batch", COUNT
        ] = 3

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        self.ab, self.ba = config.generator.build(a, b), config.generator.build(b, a)
        self.discriminator_a = config.discriminator.build(a)
        self.discriminator_b = config.discriminator.build(b)
        self.adversarial, self.cycle = config.adversarial.build(), config.cycle.build()
        self.weights = config.weights
        self.discriminator_steps = config.discriminator_steps

    def players(self):
        """Both generators against both discriminators."""
        return {
            "generators": [self.ab, self.ba],
            "discriminators": [self.discriminator_a, self.discriminator_b],
        }

    def step(self, batch, update):
        """The critics' updates, each on new images, then the generators' on the last of them."""
        w = self.weights
        for part_of_batch in batch.chunk(self.discriminator_steps):
            real_a, real_b = part_of_batch.a, part_of_batch.b
            terms = {}
            if w.adversarial.a2b and w.discriminator.b:
                fake_b = self._fake(self.ab, real_a)
                terms["discriminator/b"] = self.adversarial.judge(
                    self.discriminator_b, real_b, fake_b
                )
            if w.adversarial.b2a and w.discriminator.a:
                fake_a = self._fake(self.ba, real_b)
                terms["discriminator/a"] = self.adversarial.judge(
                    self.discriminator_a, real_a, fake_a
                )
            update("discriminators", terms)
            self.adversarial.after_step(self.discriminator_a, self.discriminator_b)

        fake_b = self.ab(real_a).image if w.adversarial.a2b or w.cycle.a else None
        fake_a = self.ba(real_b).image if w.adversarial.b2a or w.cycle.b else None
        terms = {}
        if w.adversarial.a2b:
            terms["adversarial/a2b"] = self.adversarial.fool(self.discriminator_b, fake_b, real_b)
        if w.adversarial.b2a:
            terms["adversarial/b2a"] = self.adversarial.fool(self.discriminator_a, fake_a, real_a)
        if w.cycle.a:
            terms["cycle/a"] = self.cycle(self.ba(fake_b).image, real_a)
        if w.cycle.b:
            terms["cycle/b"] = self.cycle(self.ab(fake_a).image, real_b)
        update("generators", terms)

    @staticmethod
    @torch.no_grad()
    def _fake(generator, real):
        return generator(real).image

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of one domain as images of the other."""
        return (self.ab if direction == "a2b" else self.ba)(x).image

    @staticmethod
    def samples_per_step(config):
        """A batch for each of the critics' updates."""
        return config.discriminator_steps
