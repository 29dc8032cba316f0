"""DiscoGAN.

Paper: Kim et al. 2017, "Learning to Discover Cross-Domain Relations with Generative Adversarial
Networks", §3. The defaults follow the published code, which has three things that the paper has
not: feature matching beside the adversarial loss (0.9 and 0.1), a curriculum that begins almost
without reconstruction, and one update of the discriminators to two of the generators. The paper's
method is `weights: {adversarial: 1, feature_match: 0}`, `curriculum: null`, `update_interval: 0`.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch

from zoo.layers.adversarial import frozen
from zoo.layers.once import Once
from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, UserError, part
from zoo.schema import NOT_NEGATIVE, PerDirection, PerDomain

_ONE_CYCLE = {"adversarial/b2a", "feature_match/b2a", "cycle/b", "discriminator/a"}
_LEFT_OUT = {"discogan": set(), "recongan": _ONE_CYCLE, "gan": _ONE_CYCLE | {"cycle/a"}}


@METHODS.register("discogan")
class DiscoGAN(Method):
    """Unpaired translation, a reconstruction loss each way. Paper: Kim et al. 2017 (DiscoGAN)."""

    directions = ("a2b", "b2a")
    passes = (("discriminators",), ("generators",))

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights; defaults are those of the published code."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts, before the curriculum's share."""

            adversarial: Annotated[PerDirection, "L_GAN, Eq. 4; 1 in the paper"] = PerDirection(0.1)
            feature_match: Annotated[PerDirection, "0 in the paper"] = PerDirection(0.9)
            cycle: Annotated[
                PerDomain, "L_CONST, Eq. 3; 1/4 undoes that squares in [-1, 1] are 4 times as large"
            ] = PerDomain(0.25)
            discriminator: Annotated[PerDomain, "mean of real and fake"] = PerDomain(0.5)

        @dataclass(kw_only=True)
        class Curriculum:
            """GAN terms count 1 - rate, reconstruction counts rate."""

            images: Annotated[
                int, "images at the starting rate: 10 000 batches of 64", NOT_NEGATIVE
            ] = 640_000
            starting_rate: Annotated[float, "rate during those"] = 0.01
            rate: Annotated[float, "rate after those"] = 0.5

        generator: Part = part(GENERATORS, "disco")
        discriminator: Part = part(DISCRIMINATORS, "disco")
        adversarial: Part = part(LOSSES, "gan", needs={"adversarial"})
        feature_match: Part = part(LOSSES, "feature_match")
        cycle: Part = part(LOSSES, "const")
        weights: Weights = field(default_factory=Weights)
        arch: Annotated[
            Literal["discogan", "recongan", "gan"],
            "recongan: a to b and one cycle; gan: a to b alone; all networks run all the same",
        ] = "discogan"
        curriculum: Annotated[Curriculum | None, "null: everything counts fully"] = field(
            default_factory=Curriculum
        )
        update_interval: Annotated[
            int,
            "discriminators are updated in every such iteration, generators in the others; 0: "
            "both in all",
        ] = 3

        def __post_init__(self):
            if self.update_interval < 0 or self.update_interval == 1:
                raise UserError(
                    f"update_interval is {self.update_interval}; 0 updates both players in every "
                    f"iteration, 2 or more alternates, 1 would never update the generators"
                )

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        self.ab, self.ba = config.generator.build(a, b), config.generator.build(b, a)
        self.discriminator_a = config.discriminator.build(a)
        self.discriminator_b = config.discriminator.build(b)
        self.adversarial, self.cycle = config.adversarial.build(), config.cycle.build()
        self.feature_match = config.feature_match.build()
        w = config.weights
        offers = getattr(config.discriminator.owner, "offers", ())
        if (w.feature_match.a2b or w.feature_match.b2a) and "features" not in offers:
            raise UserError(
                f"weights.feature_match compares features of the discriminator, which the "
                f"discriminator {config.discriminator.name!r} does not return; set it to 0, or use "
                f"the discriminator 'disco'"
            )
        self.runs, self.left_out = w, _LEFT_OUT[config.arch]
        self.weights = _without(w, self.left_out)
        self.curriculum = None if config.arch == "gan" else config.curriculum
        self.update_interval = config.update_interval

    def players(self):
        """Both generators against both discriminators."""
        return {
            "generators": [self.ab, self.ba],
            "discriminators": [self.discriminator_a, self.discriminator_b],
        }

    def step(self, batch, update):
        """One side's update, or both; all networks run each time, as batch statistics move."""
        n = self.update_interval
        judges, translates = (n == 0 or batch.step % n == 0), (n == 0 or batch.step % n != 0)
        real_a, real_b, w = batch.a, batch.b, self.runs
        gan_b = w.adversarial.a2b or w.feature_match.a2b
        gan_a = w.adversarial.b2a or w.feature_match.b2a
        with torch.set_grad_enabled(translates):
            fake_b = self.ab(real_a).image if gan_b or w.cycle.a else None
            fake_a = self.ba(real_b).image if gan_a or w.cycle.b else None
            back_a = self.ba(fake_b).image if w.cycle.a else None
            back_b = self.ab(fake_a).image if w.cycle.b else None

        if judges:
            terms = {}
            if gan_b and w.discriminator.b:
                fake, judge = fake_b.detach(), self.discriminator_b
                terms["discriminator/b"] = self.adversarial.judge(judge, real_b, fake)
            if gan_a and w.discriminator.a:
                fake, judge = fake_a.detach(), self.discriminator_a
                terms["discriminator/a"] = self.adversarial.judge(judge, real_a, fake)
            update("discriminators", self._counted(terms))
            self.adversarial.after_step(self.discriminator_a, self.discriminator_b)

        if translates:
            gan_share, cycle_share = self._shares(batch.images_seen)
            terms = {}
            if gan_b:
                terms |= self._gan_terms("a2b", self.discriminator_b, real_b, fake_b, gan_share)
            if gan_a:
                terms |= self._gan_terms("b2a", self.discriminator_a, real_a, fake_a, gan_share)
            if w.cycle.a:
                terms["cycle/a"] = cycle_share * self.cycle(back_a, real_a)
            if w.cycle.b:
                terms["cycle/b"] = cycle_share * self.cycle(back_b, real_b)
            update("generators", self._counted(terms))

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of one domain as images of the other."""
        return (self.ab if direction == "a2b" else self.ba)(x).image

    def _gan_terms(self, way, discriminator, real, fake, share):
        """The generator's terms from one discriminator, which judges reals, then fakes, once."""
        terms, once = {}, Once(discriminator)
        if getattr(self.runs.feature_match, way):
            with frozen(discriminator):
                pairs = zip(once(real).features, once(fake).features, strict=True)
                distances = [self.feature_match(of_real, of_fake) for of_real, of_fake in pairs]
            terms[f"feature_match/{way}"] = share * torch.stack(distances).sum()
        if getattr(self.runs.adversarial, way):
            terms[f"adversarial/{way}"] = share * self.adversarial.fool(once, fake, real)
        return terms

    def _shares(self, images_seen):
        """What GAN terms and what the reconstruction count now."""
        if self.curriculum is None:
            return 1.0, 1.0
        early = images_seen < self.curriculum.images
        rate = self.curriculum.starting_rate if early else self.curriculum.rate
        return 1 - rate, rate

    def _counted(self, terms):
        return {key: term for key, term in terms.items() if key not in self.left_out}


def _without(weights, left_out):
    """The weights, those of the terms left out set to 0."""
    changes: dict[str, dict[str, float]] = {}
    for key in left_out:
        name, _, side = key.partition("/")
        changes.setdefault(name, dict(vars(getattr(weights, name))))[side] = 0.0
    made = {name: type(getattr(weights, name))(**sides) for name, sides in changes.items()}
    return replace(weights, **made)
