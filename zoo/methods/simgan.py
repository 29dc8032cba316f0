"""SimGAN.

Paper: Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images through
Adversarial Training", Algorithm 1: a refiner makes synthetic images (a) look real (b) and is held
to what it was given. The paper's refiner has four residual blocks at full resolution; here it is
any generator, in CycleGAN's comparison (Zhu et al. 2017, §5.1.1) the ResNet. Both losses are means
over images, and self-regularisation is one over pixels too, so that its weight is the paper's
lambda times their number; the paper's are sums, which otherwise scales the learning rate only.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch

from zoo.layers.pool import HistoryBuffer
from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, UserError, part
from zoo.schema import COUNT, NOT_NEGATIVE


@METHODS.register("simgan")
class SimGAN(Method):
    """Synthetic images refined towards real ones. Paper: Shrivastava et al. 2017, Algorithm 1."""

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights; updates, warm-up and the local loss are the paper's."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts."""

            adversarial: Annotated[float, "the refiner's share of Eq. 4"] = 1
            self_regularisation: Annotated[
                float, "lambda of Eq. 4 times the number of elements"
            ] = 10
            discriminator: Annotated[float, "Eq. 2"] = 1

        generator: Part = part(GENERATORS, "resnet")
        discriminator: Part = part(DISCRIMINATORS, "patch")
        adversarial: Part = part(LOSSES, "local_gan", needs={"adversarial"})
        self_regularisation: Part = part(LOSSES, "self_regularisation", needs={"content"})
        weights: Weights = field(default_factory=Weights)
        generator_steps: Annotated[int, "K_g, updates of the refiner, each with a batch", COUNT] = 2
        discriminator_steps: Annotated[int, "K_d, likewise the discriminator's", COUNT] = 1
        generator_warmup_images: Annotated[
            int, "images on which the refiner learns to return them; 1000 batches", NOT_NEGATIVE
        ] = 512_000
        discriminator_warmup_images: Annotated[
            int, "images after those for the discriminator alone; 200 batches", NOT_NEGATIVE
        ] = 102_400
        history_size: Annotated[
            int, "refined images kept; half of what is judged as fake comes from them", NOT_NEGATIVE
        ] = 25_600

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        w = config.weights
        warms_up = w.self_regularisation and config.generator_warmup_images
        if a.channels != b.channels and w.self_regularisation:
            raise UserError(
                f"weights.self_regularisation compares a refined image with its original, but "
                f"domain a has {a.channels} channels and domain b {b.channels}; "
                f"set weights.self_regularisation to 0"
            )
        self.generator = config.generator.build(a, b)
        self.discriminator = config.discriminator.build(b)
        self.adversarial = config.adversarial.build()
        self.self_regularisation = config.self_regularisation.build()
        self.history = HistoryBuffer(config.history_size)
        self.weights = w
        self.generator_steps = config.generator_steps
        self.discriminator_steps = config.discriminator_steps
        self.discriminator_from = config.generator_warmup_images if warms_up else 0
        self.warmup_images = self.discriminator_from + config.discriminator_warmup_images

    def prepare(self):
        """Have networks and a distance that need published weights find them."""
        super().prepare()
        self.self_regularisation.prepare()

    def players(self):
        """The refiner against the discriminator."""
        return {"generators": [self.generator], "discriminators": [self.discriminator]}

    def step(self, batch, update):
        """Algorithm 1: K_g updates of the refiner, K_d of the discriminator, after the warm-up."""
        parts = batch.chunk(self.generator_steps + self.discriminator_steps)
        if batch.images_seen < self.discriminator_from:
            for images in parts:
                self._refine(images, update, adversarial=False)
        elif batch.images_seen < self.warmup_images:
            for images in parts:
                self._judge(images, update)
        else:
            for images in parts[: self.generator_steps]:
                self._refine(images, update, adversarial=bool(self.weights.adversarial))
            for images in parts[self.generator_steps :]:
                self._judge(images, update)

    def _refine(self, batch, update, *, adversarial):
        """One update of the refiner."""
        fake = self.generator(batch.a).image
        terms = {}
        if adversarial:
            terms["adversarial"] = self.adversarial.fool(self.discriminator, fake, batch.b)
        if self.weights.self_regularisation:
            terms["self_regularisation"] = self.self_regularisation(fake, batch.a)
        update("generators", terms)

    def _judge(self, batch, update):
        """One update of the discriminator, half of whose fakes come from the history (§2.3)."""
        if not (self.weights.adversarial and self.weights.discriminator):
            return
        with torch.no_grad():
            fake = self.history(self.generator(batch.a).image)
        judged = self.adversarial.judge(self.discriminator, batch.b, fake)
        update("discriminators", {"discriminator": judged})
        self.adversarial.after_step(self.discriminator)

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of domain A, refined."""
        return self.generator(x).image

    @staticmethod
    def samples_per_step(config):
        """A batch for each update."""
        return config.generator_steps + config.discriminator_steps
