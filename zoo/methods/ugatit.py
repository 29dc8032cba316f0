"""U-GAT-IT.

Paper: Kim et al. 2020, "U-GAT-IT: Unsupervised Generative Attentional Networks with Adaptive
Layer-Instance Normalization for Image-to-Image Translation", §2.2. Follows the published PyTorch
code in: discriminators first, three forwards of each a step (hence three power iterations), every
rho clipped to [0, 1] after the generators' update. Differs in cost only: each generator forward is
computed once.
"""

from dataclasses import dataclass, field
from typing import Annotated

from zoo.layers.cam import heat_colours
from zoo.layers.together import together
from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, UserError, part
from zoo.schema import PerDirection, PerDomain


@METHODS.register("ugatit")
class UGATIT(Method):
    """Unpaired translation with attention and AdaLIN. Paper: Kim et al. 2020."""

    directions = ("a2b", "b2a")
    passes = (("discriminators",), ("generators",))

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights; defaults are the published ones."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts (§2.2, full objective)."""

            adversarial: Annotated[PerDirection, "logits and CAM logits"] = PerDirection(1)
            cycle: Annotated[PerDomain, "round trip from a, from b"] = PerDomain(10)
            identity: Annotated[PerDomain, "a by the generator to a, likewise b"] = PerDomain(10)
            cam: Annotated[PerDirection, "the generator's own classifier"] = PerDirection(1000)
            discriminator: Annotated[PerDomain, "not halved, unlike CycleGAN"] = PerDomain(1)

        generator: Part = part(GENERATORS, "ugatit", needs={"cam"})
        discriminator: Part = part(DISCRIMINATORS, "ugatit")
        adversarial: Part = part(LOSSES, "lsgan", needs={"adversarial"})
        cycle: Part = part(LOSSES, "cycle")
        identity: Part = part(LOSSES, "identity")
        cam: Part = part(LOSSES, "cam")
        weights: Weights = field(default_factory=Weights)

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        w = config.weights
        if a.channels != b.channels and any([w.identity.a, w.identity.b, w.cam.a2b, w.cam.b2a]):
            raise UserError(
                f"weights.identity and weights.cam feed images of one domain to the generator of "
                f"the other, but domain a has {a.channels} channels and domain b {b.channels}; "
                f"set both weights to 0"
            )
        self.ab, self.ba = config.generator.build(a, b), config.generator.build(b, a)
        if (w.cam.a2b or w.cam.b2a) and "cam" not in self.ab.offers:
            raise UserError(
                f"weights.cam trains the attention of the generator, and this "
                f"{config.generator.name} has none (cam: false); set weights.cam to 0"
            )
        self.discriminator_a = config.discriminator.build(a)
        self.discriminator_b = config.discriminator.build(b)
        self.adversarial = config.adversarial.build()
        self.cycle, self.identity = config.cycle.build(), config.identity.build()
        self.cam = config.cam.build()
        self.weights = w

    def players(self):
        """Both generators against both discriminators."""
        return {
            "generators": [self.ab, self.ba],
            "discriminators": [self.discriminator_a, self.discriminator_b],
        }

    def step(self, batch, update):
        """Discriminators on detached fakes, then generators on the same graph, and the clip."""
        real_a, real_b, w = batch.a, batch.b, self.weights
        # Translated, and kept as it is by the generator that makes such images.
        to_b, stay_b = together(
            self.ab,
            real_a if w.adversarial.a2b or w.cycle.a or w.cam.a2b else None,
            real_b if w.identity.b or w.cam.a2b else None,
        )
        to_a, stay_a = together(
            self.ba,
            real_b if w.adversarial.b2a or w.cycle.b or w.cam.b2a else None,
            real_a if w.identity.a or w.cam.b2a else None,
        )

        terms = {}
        if w.adversarial.b2a and w.discriminator.a:
            fake_a = to_a.image.detach()
            terms["discriminator/a"] = self.adversarial.judge(self.discriminator_a, real_a, fake_a)
        if w.adversarial.a2b and w.discriminator.b:
            fake_b = to_b.image.detach()
            terms["discriminator/b"] = self.adversarial.judge(self.discriminator_b, real_b, fake_b)
        update("discriminators", terms)
        self.adversarial.after_step(self.discriminator_a, self.discriminator_b)

        terms = {}
        if w.adversarial.a2b:
            terms["adversarial/a2b"] = self.adversarial.fool(
                self.discriminator_b, to_b.image, real_b
            )
        if w.adversarial.b2a:
            terms["adversarial/b2a"] = self.adversarial.fool(
                self.discriminator_a, to_a.image, real_a
            )
        if w.cycle.a:
            terms["cycle/a"] = self.cycle(self.ba(to_b.image).image, real_a)
        if w.cycle.b:
            terms["cycle/b"] = self.cycle(self.ab(to_a.image).image, real_b)
        if w.identity.a:
            terms["identity/a"] = self.identity(stay_a.image, real_a)
        if w.identity.b:
            terms["identity/b"] = self.identity(stay_b.image, real_b)
        if w.cam.a2b:
            terms["cam/a2b"] = self.cam(to_b.cam_logits, stay_b.cam_logits)
        if w.cam.b2a:
            terms["cam/b2a"] = self.cam(to_a.cam_logits, stay_a.cam_logits)
        update("generators", terms)  # ends with every rho put back into [0, 1]: AdaLIN.constrain

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of one domain as images of the other."""
        return (self.ab if direction == "a2b" else self.ba)(x).image

    def heatmap(self, x, direction):
        """Where the generator looks, N 1 h w, any range; None without attention."""
        return (self.ab if direction == "a2b" else self.ba)(x).heatmap

    def pictures(self, batch):
        """As every two-way method's, with the generator's attention after each way back."""
        if "cam" not in self.ab.offers:
            return super().pictures(batch)
        columns = {}
        for name, column in super().pictures(batch).items():
            columns[name] = column
            if name == "back_a":
                columns["cam_a"] = self._attention(batch.a, "a2b")
            if name == "back_b":
                columns["cam_b"] = self._attention(batch.b, "b2a")
        return columns

    def _attention(self, x, direction):
        return heat_colours(self.heatmap(x, direction), *x.shape[2:])
