"""BiGAN, or ALI, from image to image.

Papers: Donahue et al. 2017, "Adversarial Feature Learning", and Dumoulin et al. 2017,
"Adversarially Learned Inference". Both learn a map and its inverse between images and vectors by
one discriminator that judges pairs. Here both sides are images, as in CycleGAN's comparison (Zhu et
al. 2017, §5.1.1), with CycleGAN's networks, loss and halved discriminator; the papers themselves
have cross-entropy, `adversarial: gan`. Nothing asks for a reconstruction: the maps are inverses at
the optimum only, and both papers' baselines in the literature fail.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch

from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, part


@METHODS.register("bigan")
class BiGAN(Method):
    """A map and its inverse by one judge of pairs. Papers: Donahue, Dumoulin et al. 2017."""

    directions = ("a2b", "b2a")
    passes = (("generators", "discriminators"),)

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights; networks are those of CycleGAN's comparison."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts."""

            adversarial: Annotated[float, "Donahue et al., Eq. 3"] = 1
            discriminator: Annotated[float, "halved, as CycleGAN's"] = 0.5

        generator: Part = part(GENERATORS, "resnet")
        discriminator: Part = part(DISCRIMINATORS, "joint")
        adversarial: Part = part(LOSSES, "lsgan", needs={"adversarial"})
        weights: Weights = field(default_factory=Weights)

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        self.ab, self.ba = config.generator.build(a, b), config.generator.build(b, a)
        if getattr(config.discriminator.owner, "pairs", False):
            self.discriminator = config.discriminator.build(a, b)
        else:
            self.discriminator = config.discriminator.build(
                a._replace(channels=a.channels + b.channels)
            )
        self.adversarial = config.adversarial.build()
        self.weights = config.weights

    def players(self):
        """Both generators against the one discriminator."""
        return {"generators": [self.ab, self.ba], "discriminators": [self.discriminator]}

    def step(self, batch, update):
        """Pairs (a, G(a)) are the real side, pairs (F(b), b) the fake one."""
        if not self.weights.adversarial:
            return
        with_b = torch.cat([batch.a, self.ab(batch.a).image], dim=1)
        with_a = torch.cat([self.ba(batch.b).image, batch.b], dim=1)
        fooled = self.adversarial.confuse(self.discriminator, real=with_b, fake=with_a)
        update("generators", {"adversarial": fooled})

        terms = {}
        if self.weights.discriminator:
            terms["discriminator"] = self.adversarial.judge(
                self.discriminator, with_b.detach(), with_a.detach()
            )
        update("discriminators", terms)
        self.adversarial.after_step(self.discriminator)

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of one domain as images of the other."""
        return (self.ab if direction == "a2b" else self.ba)(x).image
