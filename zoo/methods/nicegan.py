"""NICE-GAN.

Paper: Chen et al. 2020, "Reusing Discriminators for Encoding: Towards Unsupervised Image-to-Image
Translation", §3. The first layers of a domain's discriminator are the encoder of its images, and a
generator only decodes. Training is decoupled (§3.2): the encoders learn with the discriminators and
are frozen while the generators learn. Follows the published code in: discriminators first, four
forwards of each a step (hence four power iterations), both heads and the CAM logits weigh the same.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch

from zoo.layers.adversarial import frozen
from zoo.layers.once import Once
from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, part
from zoo.schema import PerDirection, PerDomain


@METHODS.register("nicegan")
class NICEGAN(Method):
    """Unpaired translation without encoders of its own. Paper: Chen et al. 2020 (NICE-GAN)."""

    directions = ("a2b", "b2a")
    passes = (("discriminators",), ("generators",))

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights; defaults are the published ones."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts (§3.3, full objective)."""

            adversarial: Annotated[PerDirection, "logits of both heads and CAM"] = PerDirection(1)
            cycle: Annotated[PerDomain, "round trip from a, from b"] = PerDomain(10)
            reconstruction: Annotated[PerDomain, "a encoded and decoded"] = PerDomain(10)
            discriminator: Annotated[PerDomain, "not halved, unlike CycleGAN"] = PerDomain(1)

        generator: Part = part(GENERATORS, "nicegan", reads="features")
        discriminator: Part = part(DISCRIMINATORS, "nicegan", needs={"encoder"})
        adversarial: Part = part(LOSSES, "lsgan", needs={"adversarial"})
        cycle: Part = part(LOSSES, "cycle")
        reconstruction: Part = part(LOSSES, "reconstruction")
        weights: Weights = field(default_factory=Weights)

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        self.discriminator_a = config.discriminator.build(a)
        self.discriminator_b = config.discriminator.build(b)
        self.ab = config.generator.build(self.discriminator_a.encoded, b)
        self.ba = config.generator.build(self.discriminator_b.encoded, a)
        self.adversarial = config.adversarial.build()
        self.cycle, self.reconstruction = config.cycle.build(), config.reconstruction.build()
        self.weights = config.weights

    def players(self):
        """The decoders against the discriminators, to whom the encoders belong."""
        return {
            "generators": [self.ab, self.ba],
            "discriminators": [self.discriminator_a, self.discriminator_b],
        }

    def translators(self):
        """The decoders, and the encoders that they read."""
        return [self.ab, self.ba, self.discriminator_a.encoder, self.discriminator_b.encoder]

    def step(self, batch, update):
        """Discriminators on fakes without a graph, then generators through frozen encoders."""
        real_a, real_b, w = batch.a, batch.b, self.weights
        judge_a, judge_b = Once(self.discriminator_a), Once(self.discriminator_b)
        terms = {}
        if w.adversarial.b2a and w.discriminator.a:
            fake_a = self._decoded(self.ba, judge_b(real_b).features[0])
            terms["discriminator/a"] = self.adversarial.judge(judge_a, real_a, fake_a)
        if w.adversarial.a2b and w.discriminator.b:
            fake_b = self._decoded(self.ab, judge_a(real_a).features[0])
            terms["discriminator/b"] = self.adversarial.judge(judge_b, real_b, fake_b)
        update("discriminators", terms)
        self.adversarial.after_step(self.discriminator_a, self.discriminator_b)

        judge_a, judge_b = Once(self.discriminator_a), Once(self.discriminator_b)
        with frozen(self.discriminator_a, self.discriminator_b):
            terms = self._generator_terms(judge_a, judge_b, real_a, real_b)
        update("generators", terms)

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of one domain as images of the other."""
        z, _, _ = self._encoder(direction)(x)
        return (self.ab if direction == "a2b" else self.ba)(z).image

    def heatmap(self, x, direction):
        """Where the encoder looks, N 1 h w, any range."""
        return self._encoder(direction)(x)[2]

    def _generator_terms(self, judge_a, judge_b, real_a, real_b):
        w, terms = self.weights, {}
        if w.adversarial.a2b or w.cycle.a:
            fake_b = self.ab(judge_a(real_a).features[0]).image
        if w.adversarial.b2a or w.cycle.b:
            fake_a = self.ba(judge_b(real_b).features[0]).image
        if w.adversarial.a2b:
            terms["adversarial/a2b"] = self.adversarial.fool(judge_b, fake_b, real_b)
        if w.adversarial.b2a:
            terms["adversarial/b2a"] = self.adversarial.fool(judge_a, fake_a, real_a)
        if w.cycle.a:
            back_a = self.ba(judge_b(fake_b).features[0]).image
            terms["cycle/a"] = self.cycle(back_a, real_a)
        if w.cycle.b:
            back_b = self.ab(judge_a(fake_a).features[0]).image
            terms["cycle/b"] = self.cycle(back_b, real_b)
        if w.reconstruction.a:
            again_a = self.ba(judge_a(real_a).features[0]).image
            terms["reconstruction/a"] = self.reconstruction(again_a, real_a)
        if w.reconstruction.b:
            again_b = self.ab(judge_b(real_b).features[0]).image
            terms["reconstruction/b"] = self.reconstruction(again_b, real_b)
        return terms

    def _encoder(self, direction):
        return (self.discriminator_a if direction == "a2b" else self.discriminator_b).encoder

    @torch.no_grad()
    def _decoded(self, generator, z):
        return generator(z).image
