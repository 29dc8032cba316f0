"""CUT and FastCUT.

Paper: Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation". FastCUT is
the configuration without the identity term, with ten times the weight and with flips. Follows the
published code in: the discriminator first, its loss halved; the weights of both contrastive terms
halved where there are two (the final objective of §3 has 1 and 1, the code averages); keys without
gradient; the same positions for all images of a batch. Differs in that the sampler's networks exist
from the start and are stepped with the generator, at the same learning rate, and in cost: features
of the input are those of the forward that translated it, unless it was flipped.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch

from zoo.layers.batch_values import once_a_batch
from zoo.layers.patch_sampler import PatchSampler
from zoo.method import Method
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, UserError, part
from zoo.schema import COUNT, PerDomain


@METHODS.register("cut")
class CUT(Method):
    """One-way unpaired translation by contrasting patches. Paper: Park et al. 2020."""

    passes = (("discriminators",), ("generators",))

    @dataclass(kw_only=True)
    class Config:
        """Parts and weights; the published networks, sampled without aliasing, are in recipes."""

        @dataclass(kw_only=True)
        class Weights:
            """What each term counts (§3, final objective)."""

            adversarial: Annotated[float, "towards domain b"] = 1
            nce: Annotated[
                PerDomain, "patches of a and of its translation; of b and of itself translated"
            ] = PerDomain(0.5)
            discriminator: Annotated[float, "halved: slows it"] = 0.5

        generator: Part = part(GENERATORS, "resnet", needs={"taps"})
        discriminator: Part = part(DISCRIMINATORS, "patch")
        adversarial: Part = part(LOSSES, "lsgan", needs={"adversarial"})
        nce: Part = part(LOSSES, "patch_nce")
        weights: Weights = field(default_factory=Weights)
        taps: Annotated[tuple[int, ...], "layers of the generator whose patches are compared"] = (
            0,
            4,
            8,
            12,
            16,
        )
        num_patches: Annotated[int, "positions drawn per layer", COUNT] = 256
        sampler_width: Annotated[int, "of the networks behind each layer", COUNT] = 256
        flip_equivariance: Annotated[bool, "flip every other input, and its features back"] = False

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        if a.channels != b.channels:
            raise UserError(
                f"cut feeds translated images to the generator again, but domain a has "
                f"{a.channels} channels and domain b {b.channels}; choose another method"
            )
        self.ab = config.generator.build(a, b)
        self.sampler = PatchSampler(self.ab.tap_channels(config.taps), config.sampler_width)
        self.discriminator_b = config.discriminator.build(b)
        self.adversarial = config.adversarial.build()
        self.adversarial.fake_first = True
        self.nce = config.nce.build()
        self.weights, self.taps = config.weights, tuple(config.taps)
        self.num_patches, self.flip_equivariance = config.num_patches, config.flip_equivariance

    def players(self):
        """The generator and the sampler's networks against the discriminator."""
        return {"generators": [self.ab, self.sampler], "discriminators": [self.discriminator_b]}

    def translators(self):
        """The generator; the sampler serves training only."""
        return [self.ab]

    def step(self, batch, update):
        """The discriminator on the detached fake, then the generator on the same graph."""
        real_b, w = batch.b, self.weights
        flipped = self.flip_equivariance and once_a_batch(self.draw_flip)
        contrasts = bool(w.nce.a or w.nce.b)
        x = torch.cat([batch.a, batch.b]) if w.nce.b else batch.a
        made = self.ab(x.flip(3), ()) if flipped else self.ab(x, self.taps if contrasts else ())
        keys = made.features
        if flipped and contrasts:
            with torch.no_grad():
                keys = self.ab(x, self.taps, decode=False).features
        n = len(batch.a)
        fake_b, same_b = made.image[:n], made.image[n:]

        terms = {}
        if w.adversarial and w.discriminator:
            terms["discriminator"] = self.adversarial.judge(
                self.discriminator_b, real_b, fake_b.detach()
            )
        update("discriminators", terms)
        self.adversarial.after_step(self.discriminator_b)

        terms = {}
        if w.adversarial:
            terms["adversarial"] = self.adversarial.fool(self.discriminator_b, fake_b, real_b)
        if w.nce.a:
            terms["nce/a"] = self._contrast(fake_b, [f[:n] for f in keys], flipped)
        if w.nce.b:
            terms["nce/b"] = self._contrast(same_b, [f[n:] for f in keys], flipped)
        update("generators", terms)

    def _contrast(self, image, keys, flipped):
        """L_PatchNCE (§3): patches of the output against those of the input, mean over layers.

        Args:
            image: what the generator made of the input, N C H W.
            keys: features of the input, never flipped.
            flipped: whether the generator saw the input flipped.
        """
        queries = self.ab(image, self.taps, decode=False).features
        if flipped:
            queries = [f.flip(3) for f in queries]
        positions = once_a_batch(lambda: self.draw_positions(keys))
        with torch.no_grad():
            keys = self.sampler(keys, positions)
        pairs = zip(self.sampler(queries, positions), keys, strict=True)
        return torch.stack([self.nce(query, key) for query, key in pairs]).mean()

    def draw_flip(self):
        """Whether this step's input is flipped left to right: half of the time."""
        return torch.rand(()).item() < 0.5

    def draw_positions(self, features):
        """For each feature map N C H W, up to `num_patches` different numbers in [0, H W)."""
        counts = [f.shape[2] * f.shape[3] for f in features]
        device = features[0].device
        return [torch.randperm(n, device=device)[: self.num_patches] for n in counts]

    def translate(self, x, direction):
        """Images N C H W in [-1, 1] of one domain as images of the other."""
        return self.ab(x).image
