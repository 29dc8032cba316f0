"""pix2pix.

Paper: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks".
Follows the published PyTorch code in: the discriminator first, its loss halved, the fake pair
before the real one. As in the paper (§3.3), dropout stays on and batch norm uses the statistics of
the image at test too; images are therefore translated one by one. Differs in that every image meets
the same dropout masks, so that a translation can be repeated.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch

from zoo.layers.dropout import as_in_training, fixed_noise
from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, part


@METHODS.register("pix2pix")
class Pix2Pix(Method):
    """Paired translation with a conditional discriminator. Paper: Isola et al. 2017."""

    needs = "paired"
    passes = (("discriminators",), ("generators",))

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights; defaults are the published ones, but for the norms (see recipes)."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts (§3.1)."""

            adversarial: Annotated[float, "Eq. 1 or, unconditional, Eq. 2"] = 1
            l1: Annotated[float, "Eq. 3; lambda"] = 100
            discriminator: Annotated[float, "halved: slows it (§3.3)"] = 0.5

        generator: Part = part(GENERATORS, "unet")
        discriminator: Part = part(DISCRIMINATORS, "patch")
        adversarial: Part = part(LOSSES, "gan", needs={"adversarial"})
        l1: Part = part(LOSSES, "l1")
        weights: Weights = field(default_factory=Weights)
        conditional: Annotated[bool, "the discriminator sees the input beside the output"] = True
        noise_at_test: Annotated[
            bool, "dropout and batch statistics at test as in training; false: as is usual"
        ] = True

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        self.ab = config.generator.build(a, b)
        judged = b._replace(channels=a.channels + b.channels) if config.conditional else b
        self.discriminator_b = config.discriminator.build(judged)
        self.adversarial = config.adversarial.build()
        self.adversarial.fake_first = True
        self.l1 = config.l1.build()
        self.weights = config.weights
        self.conditional, self.noise_at_test = config.conditional, config.noise_at_test

    def players(self):
        """The generator against the discriminator."""
        return {"generators": [self.ab], "discriminators": [self.discriminator_b]}

    def step(self, batch, update):
        """The discriminator on the detached fake, then the generator on the same graph."""
        real_a, real_b, w = batch.a, batch.b, self.weights
        fake_b = self.ab(real_a).image
        real, fake = self._judged(real_a, real_b), self._judged(real_a, fake_b)

        terms = {}
        if w.adversarial and w.discriminator:
            terms["discriminator"] = self.adversarial.judge(
                self.discriminator_b, real, fake.detach()
            )
        update("discriminators", terms)
        self.adversarial.after_step(self.discriminator_b)

        terms = {}
        if w.adversarial:
            terms["adversarial"] = self.adversarial.fool(self.discriminator_b, fake, real)
        if w.l1:
            terms["l1"] = self.l1(fake_b, real_b)
        update("generators", terms)

    def _judged(self, input_image, output_image):
        """What the discriminator sees: (x, y) as one image, or y alone."""
        if not self.conditional:
            return output_image
        return torch.cat([input_image, output_image], dim=1)

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of one domain as images of the other."""
        if not self.noise_at_test:
            return self.ab(x).image
        with as_in_training(self.ab):
            return torch.cat([self._translate_one(image) for image in x.split(1)])

    def _translate_one(self, image):
        with fixed_noise(image):
            return self.ab(image).image
