"""Feature loss + GAN.

A row of CycleGAN's comparison (Zhu et al. 2017, §5.1.1): SimGAN (Shrivastava et al. 2017) whose
distance between an image and its original is measured in features of VGG-16 (relu4_2) instead of
pixels, with CycleGAN's networks, least squares and halved discriminator.
"""

from dataclasses import dataclass, field
from typing import Annotated

from zoo.layers.pool import HistoryBuffer
from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, part
from zoo.schema import NOT_NEGATIVE


@METHODS.register("featureloss")
class FeatureLoss(Method):
    """A GAN held to the features of its input. Paper: Zhu et al. 2017 (CycleGAN), §5.1.1."""

    passes = (("generators", "discriminators"),)

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts."""

            adversarial: Annotated[float, "Zhu et al. 2017, Eq. 1"] = 1
            features: Annotated[float, "Shrivastava et al. 2017, Eq. 3, psi being VGG-16"] = 1
            discriminator: Annotated[float, "halved, as CycleGAN's"] = 0.5

        generator: Part = part(GENERATORS, "resnet")
        discriminator: Part = part(DISCRIMINATORS, "patch")
        adversarial: Part = part(LOSSES, "lsgan", needs={"adversarial"})
        features: Part = part(LOSSES, "vgg_features", needs={"content"})
        weights: Weights = field(default_factory=Weights)
        history_size: Annotated[
            int, "past fakes kept; half of what is judged as fake comes from them", NOT_NEGATIVE
        ] = 50

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        self.generator = config.generator.build(a, b)
        self.discriminator = config.discriminator.build(b)
        self.adversarial = config.adversarial.build()
        self.features = config.features.build()
        self.history = HistoryBuffer(config.history_size)
        self.weights = config.weights

    def prepare(self):
        """Find the published weights of the feature network, and of others that need some."""
        super().prepare()
        if self.weights.features:
            self.features.prepare()

    def players(self):
        """The generator against the discriminator."""
        return {"generators": [self.generator], "discriminators": [self.discriminator]}

    def step(self, batch, update):
        """The generator first, then the discriminator on fakes half of which are older."""
        fake, w = self.generator(batch.a).image, self.weights
        terms = {}
        if w.adversarial:
            terms["adversarial"] = self.adversarial.fool(self.discriminator, fake, batch.b)
        if w.features:
            terms["features"] = self.features(fake, batch.a)
        update("generators", terms)

        terms = {}
        if w.adversarial and w.discriminator:
            terms["discriminator"] = self.adversarial.judge(
                self.discriminator, batch.b, self.history(fake)
            )
        update("discriminators", terms)
        self.adversarial.after_step(self.discriminator)

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of domain A as images of domain B."""
        return self.generator(x).image
