"""CycleGAN.

Paper: Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks". Follows the published code in: fakes of the discriminators' step are those made before
the generators' update, and come from a pool of 50; the discriminators' loss is halved.
"""

from dataclasses import dataclass, field
from typing import Annotated

from zoo.layers.pool import ImagePool
from zoo.layers.together import together
from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, UserError, part
from zoo.schema import NOT_NEGATIVE, PerDirection, PerDomain


@METHODS.register("cyclegan")
class CycleGAN(Method):
    """Unpaired translation with cycle consistency. Paper: Zhu et al. 2017."""

    directions = ("a2b", "b2a")
    passes = (("generators", "discriminators"),)

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights; defaults are the published ones."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts; lambda_A is cycle.a, times lambda_identity identity.a."""

            adversarial: Annotated[PerDirection, "Eq. 1"] = PerDirection(1)
            cycle: Annotated[PerDomain, "Eq. 2, round trip from a, from b"] = PerDomain(10)
            identity: Annotated[PerDomain, "§5.2; absolute, not times cycle"] = PerDomain(5)
            discriminator: Annotated[PerDomain, "halved: slows it"] = PerDomain(0.5)

        generator: Part = part(GENERATORS, "resnet")
        discriminator: Part = part(DISCRIMINATORS, "patch")
        adversarial: Part = part(LOSSES, "lsgan", needs={"adversarial"})
        cycle: Part = part(LOSSES, "cycle")
        identity: Part = part(LOSSES, "identity")
        weights: Weights = field(default_factory=Weights)
        pool_size: Annotated[int, "past fakes a discriminator sees; 0: none", NOT_NEGATIVE] = 50

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        if a.channels != b.channels and (config.weights.identity.a or config.weights.identity.b):
            raise UserError(
                f"weights.identity feeds images of one domain to the generator of the other, but "
                f"domain a has {a.channels} channels and domain b {b.channels}; "
                f"set weights.identity to 0"
            )
        self.ab, self.ba = config.generator.build(a, b), config.generator.build(b, a)
        self.discriminator_a = config.discriminator.build(a)
        self.discriminator_b = config.discriminator.build(b)
        self.adversarial = config.adversarial.build()
        self.cycle, self.identity = config.cycle.build(), config.identity.build()
        self.pool_a, self.pool_b = ImagePool(config.pool_size), ImagePool(config.pool_size)
        self.weights = config.weights

    def players(self):
        """Both generators against both discriminators."""
        return {
            "generators": [self.ab, self.ba],
            "discriminators": [self.discriminator_a, self.discriminator_b],
        }

    def step(self, batch, update):
        """Generators first, then discriminators on fakes from the pool."""
        real_a, real_b, w = batch.a, batch.b, self.weights
        to_b, stay_b = together(
            self.ab,
            real_a if w.adversarial.a2b or w.cycle.a else None,
            real_b if w.identity.b else None,
        )
        to_a, stay_a = together(
            self.ba,
            real_b if w.adversarial.b2a or w.cycle.b else None,
            real_a if w.identity.a else None,
        )
        fake_b, fake_a = to_b and to_b.image, to_a and to_a.image

        terms = {}
        if w.adversarial.a2b:
            terms["adversarial/a2b"] = self.adversarial.fool(self.discriminator_b, fake_b, real_b)
        if w.adversarial.b2a:
            terms["adversarial/b2a"] = self.adversarial.fool(self.discriminator_a, fake_a, real_a)
        if w.cycle.a:
            terms["cycle/a"] = self.cycle(self.ba(fake_b).image, real_a)
        if w.cycle.b:
            terms["cycle/b"] = self.cycle(self.ab(fake_a).image, real_b)
        if w.identity.a:
            terms["identity/a"] = self.identity(stay_a.image, real_a)
        if w.identity.b:
            terms["identity/b"] = self.identity(stay_b.image, real_b)
        update("generators", terms)

        terms = {}
        if w.adversarial.a2b and w.discriminator.b:
            old_b = self.pool_b(fake_b)  # detached
            terms["discriminator/b"] = self.adversarial.judge(self.discriminator_b, real_b, old_b)
        if w.adversarial.b2a and w.discriminator.a:
            old_a = self.pool_a(fake_a)
            terms["discriminator/a"] = self.adversarial.judge(self.discriminator_a, real_a, old_a)
        update("discriminators", terms)
        self.adversarial.after_step(self.discriminator_a, self.discriminator_b)

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of one domain as images of the other."""
        return (self.ab if direction == "a2b" else self.ba)(x).image
