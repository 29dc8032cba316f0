"""More real than the other side on average. Jolicoeur-Martineau 2018, "The relativistic GAN"."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.adversarial import Adversarial, ask, frozen
from zoo.layers.precision import full_precision
from zoo.protocols import Judgement
from zoo.registry import LOSSES


@LOSSES.register("relativistic")
class RelativisticLoss(Adversarial):
    """Cross-entropy on C(x) - mean C(G(z)) for reals and C(G(z)) - mean C(x) for fakes (RaSGAN).

    Paper: Jolicoeur-Martineau 2018, "The relativistic discriminator: a key element missing from
    standard GAN", §4.2, with §4.1's average. The generator minimises the same with the sides
    exchanged, so it looks at reals too. Means are over all logits of a head, of one process.
    """

    whole_batch = "compares every logit with the mean over the batch"

    @dataclass(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config):
        super().__init__()

    def fool(self, discriminator: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
        """The generator's term: fakes are to be more real than the reals on average."""
        with frozen(discriminator):
            real_judged, fake_judged = _compare(
                ask(discriminator, real, "real"), ask(discriminator, fake, "fake")
            )
        return self._add(self.fake_term, real_judged) + self._add(self.real_term, fake_judged)

    def confuse(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """`fool`, which exchanges both sides already."""
        return self.fool(discriminator, fake, real)

    def judge(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's terms."""
        images = {"real": real, "fake": fake}
        order = ("fake", "real") if self.fake_first else ("real", "fake")
        judged = {name: ask(discriminator, images[name], name) for name in order}
        real_judged, fake_judged = _compare(judged["real"], judged["fake"])
        return {
            "real": self._add(self.real_term, real_judged),
            "fake": self._add(self.fake_term, fake_judged),
        }

    def real_term(self, logits: Tensor) -> Tensor:
        """Mean of -log sigmoid; of logits relative to the other side's mean."""
        return F.softplus(-logits).mean()

    def fake_term(self, logits: Tensor) -> Tensor:
        """Mean of -log(1 - sigmoid); of logits relative to the other side's mean."""
        return F.softplus(logits).mean()


def _compare(real: Judgement, fake: Judgement) -> tuple[Judgement, Judgement]:
    """Every head's logits less the mean of the other side's."""
    pairs = [
        (full_precision(r), full_precision(f))
        for r, f in zip(real.logits, fake.logits, strict=True)
    ]
    return (
        Judgement(tuple(r - f.mean() for r, f in pairs)),
        Judgement(tuple(f - r.mean() for r, f in pairs)),
    )
