"""CoGAN.

Paper: Liu and Tuzel 2016, "Coupled Generative Adversarial Networks": a GAN for each domain, from
one vector, with shared layers (§3). Nothing is translated in training. To translate, §5 looks for
the vector whose image in the one domain is the given one, by gradient descent, and takes its image
in the other domain. Descent gets stuck, so here it starts several times. `translation: encoder` has
a network guess the vector instead, trained beside the GANs on their own images.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from zoo.layers.adversarial import frozen
from zoo.layers.latent import LatentEncoder, latent_distance
from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, UserError, part
from zoo.schema import COUNT, NOT_NEGATIVE, PerDomain


@METHODS.register("cogan")
class CoGAN(Method):
    """Two GANs with shared layers, translation by search. Paper: Liu and Tuzel 2016."""

    directions = ("a2b", "b2a")
    passes = (("generators", "discriminators", "encoders"),)

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts."""

            adversarial: Annotated[PerDomain, "Eq. 3, the generators' side"] = PerDomain(1)
            discriminator: Annotated[PerDomain, "Eq. 3, the discriminators' side"] = PerDomain(1)
            encoder: Annotated[PerDomain, "error of the guessed vector; not in the paper"] = (
                PerDomain(1)
            )

        generator: Part = part(GENERATORS, "coupled", reads="latent")
        discriminator: Part = part(DISCRIMINATORS, "coupled", needs={"sides"})
        adversarial: Part = part(LOSSES, "gan", needs={"adversarial"})
        weights: Weights = field(default_factory=Weights)
        translation: Annotated[
            Literal["search", "encoder"], "search: descent to the vector (§5); encoder: a guess"
        ] = "search"
        search_steps: Annotated[int, "steps of the descent", COUNT] = 200
        search_restarts: Annotated[int, "vectors it starts from; the best end counts", COUNT] = 4
        search_lr: Annotated[float, "Adam's rate in the descent", NOT_NEGATIVE] = 0.1
        encoder_width: Annotated[int, "filters of the encoders' first layer", COUNT] = 64

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        w = config.weights
        self.guesses = config.translation == "encoder"
        if self.guesses and not (w.encoder.a and w.encoder.b):
            raise UserError(
                "translation: encoder needs both encoders trained, and weights.encoder is "
                f"{{a: {w.encoder.a:g}, b: {w.encoder.b:g}}}; give both a weight, or search"
            )
        self.generator = config.generator.build(a, b)
        self.discriminator = config.discriminator.build(a, b)
        self.encoder_a, self.encoder_b = (
            LatentEncoder(shape, config.encoder_width, self.generator.latent_size)
            for shape in (a, b)
        )
        self.adversarial = config.adversarial.build()
        self.weights = w
        self.search_steps, self.search_lr = config.search_steps, config.search_lr
        self.search_restarts = config.search_restarts

    def players(self):
        """The coupled generators, the coupled discriminators, and who guesses vectors."""
        return {
            "generators": [self.generator],
            "discriminators": [self.discriminator],
            "encoders": [self.encoder_a, self.encoder_b],
        }

    def translators(self) -> list[nn.Module]:
        """The generators, and the encoders where they are asked."""
        return [self.generator, *((self.encoder_a, self.encoder_b) if self.guesses else ())]

    def step(self, batch, update):
        """One vector, uniform in [-1, 1], makes a pair of fakes, which everybody learns from."""
        w, (judge_a, judge_b) = self.weights, self.discriminator.sides
        z = torch.rand(len(batch.a), self.generator.latent_size, device=batch.a.device)
        z = (2 * z - 1).to(batch.a.dtype)
        fake_a, fake_b = (made.image for made in self.generator(z))

        terms = {}
        if w.adversarial.a:
            terms["adversarial/a"] = self.adversarial.fool(judge_a, fake_a, batch.a)
        if w.adversarial.b:
            terms["adversarial/b"] = self.adversarial.fool(judge_b, fake_b, batch.b)
        update("generators", terms)

        fake_a, fake_b = fake_a.detach(), fake_b.detach()
        terms = {}
        if w.adversarial.a and w.discriminator.a:
            terms["discriminator/a"] = self.adversarial.judge(judge_a, batch.a, fake_a)
        if w.adversarial.b and w.discriminator.b:
            terms["discriminator/b"] = self.adversarial.judge(judge_b, batch.b, fake_b)
        update("discriminators", terms)

        terms = {}
        if w.encoder.a:
            terms["encoder/a"] = latent_distance(self.encoder_a(fake_a), z)
        if w.encoder.b:
            terms["encoder/b"] = latent_distance(self.encoder_b(fake_b), z)
        update("encoders", terms)
        self.adversarial.after_step(self.discriminator)

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of one domain as images of the other, of the trained size."""
        if tuple(x.shape[2:]) != self.generator.fixed_size:
            height, width = self.generator.fixed_size
            raise UserError(
                f"these coupled generators were built for {height} x {width} pixels and got "
                f"{x.shape[2]} x {x.shape[3]}"
            )
        if self.guesses:
            z = (self.encoder_a if direction == "a2b" else self.encoder_b)(x)
        else:
            z = self.search(x, "a" if direction == "a2b" else "b")
        return self.image(z, "b" if direction == "a2b" else "a")

    def image(self, z: Tensor, domain: str) -> Tensor:
        """Vectors N L to images of domain "a" or "b"."""
        return self.generator(z)["ab".index(domain)].image

    def random_vectors(self, like: Tensor, restarts: int = 1) -> Tensor:
        """Vectors R N L in [-1, 1] for N images, the same for every image and at every call."""
        generator = torch.Generator().manual_seed(0)
        shape = restarts, 1, self.generator.latent_size
        z = (2 * torch.rand(shape, generator=generator) - 1).to(like)
        return z.expand(-1, len(like), -1)

    def search(self, x: Tensor, domain: str) -> Tensor:
        """For each image the vector whose image in its own domain is nearest, in squared error.

        Args:
            x: N C H W in [-1, 1].
            domain: "a" or "b", of `x`.

        Returns:
            N L in [-1, 1]: of several descents from random vectors, the best end.
        """
        starts = self.random_vectors(x, self.search_restarts)
        z = starts.flatten(0, 1).clone().requires_grad_()
        goals = x.detach().repeat(self.search_restarts, 1, 1, 1)
        optimizer = torch.optim.Adam([z], self.search_lr)

        def errors() -> Tensor:
            return (self.image(z, domain) - goals).square().flatten(1).mean(dim=1)

        with torch.enable_grad(), frozen(self.generator):
            for _ in range(self.search_steps):
                (z.grad,) = torch.autograd.grad(errors().sum(), z)
                optimizer.step()
                with torch.no_grad():
                    z.clamp_(-1, 1)  # where the generators were trained
        with torch.no_grad():
            best = errors().view(self.search_restarts, -1).argmin(dim=0)
        return z.detach().view_as(starts)[best, torch.arange(len(x), device=x.device)]
