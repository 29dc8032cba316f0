"""The one interface between a method and the trainer."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from zoo.layers.adversarial import Adversarial
from zoo.layers.pool import ImagePool
from zoo.layers.queue import FeatureQueue
from zoo.protocols import Batch

Terms = Mapping[str, Tensor | Mapping[str, Tensor]]
Update = Callable[[str, Terms], None]


class Method(nn.Module):
    """A way to train networks; a subclass is one file in `zoo/methods`.

    A subclass is registered with a nested dataclass `Config`, is built as `Class(config, a, b)`
    with the two domains' `Shape`, keeps `self.weights`, its terms' weights, and writes its step
    out in the paper's order.

    Attributes:
        directions: what `translate` takes, ("a2b",) or ("a2b", "b2a").
        needs: "unpaired", or "paired" where training pairs must belong together.
        passes: groups of players that do not see one another's update within a step.
            Players of a group are stepped together, when the last of them has its gradients.
        warmup_images: images before which some terms do not appear.
    """

    directions: tuple[str, ...] = ("a2b",)
    needs: str = "unpaired"
    passes: tuple[tuple[str, ...], ...] = ()
    warmup_images: int = 0

    def players(self) -> dict[str, list[nn.Module]]:
        """Who is optimised by whom: {"generators": […], "discriminators": […]}."""
        raise NotImplementedError

    def prepare(self) -> None:
        """What only training needs, such as published weights; called once, before data is read.

        A network that needs some has a method `prepare` of its own, which is called here.

        Raises:
            UserError: something is missing.
        """
        for network in (net for nets in self.players().values() for net in nets):
            prepare: Callable[[], None] | None = getattr(network, "prepare", None)
            if prepare is not None:
                prepare()

    def step(self, batch: Batch, update: Update) -> None:
        """One iteration: compute terms and call `update(player, terms)` in the paper's order.

        A term's key is `name` or `name/suffix`; its weight is `self.weights.name` (`.suffix`).
        """
        raise NotImplementedError

    def translate(self, x: Tensor, direction: str) -> Tensor:
        """Images N C H W in [-1, 1] of one domain as images of the other."""
        raise NotImplementedError

    def translators(self) -> list[nn.Module]:
        """The modules that `translate` runs; the EMA averages these."""
        return self.players()["generators"]

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Columns of the sample grid, N C H W in [-1, 1], in order."""
        columns = {"real_a": batch.a, "fake_b": self.translate(batch.a, "a2b")}
        if "b2a" in self.directions:
            columns["back_a"] = self.translate(columns["fake_b"], "b2a")
            columns["real_b"] = batch.b
            columns["fake_a"] = self.translate(batch.b, "b2a")
            columns["back_b"] = self.translate(columns["fake_a"], "a2b")
        return columns

    def heatmap(self, x: Tensor, direction: str) -> Tensor | None:
        """Where the generator looks, N 1 h w, or None when it has no attention map."""
        return None

    def extra_state(self) -> dict[str, list[Tensor]]:
        """State of this process beside weights and buffers: pools, queues, losses that count."""
        return {name: part.state() for name, part in self.stateful().items()}

    def load_extra_state(self, state: Mapping[str, list[Tensor]]) -> None:
        """Take back what `extra_state` returned."""
        for name, part in self.stateful().items():
            part.load(state[name])

    def stateful(self) -> dict[str, ImagePool | FeatureQueue | Adversarial]:
        """Who has such state, by path."""
        memories = {
            f"{path}.{name}" if path else name: value
            for path, module in self.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, ImagePool | FeatureQueue)
        }
        losses = {
            name: part
            for name, part in self.named_children()
            if isinstance(part, Adversarial) and part.state()
        }
        return memories | losses

    @staticmethod
    def samples_per_step(config) -> int:
        """Batches that one step consumes; more than one for methods with several updates a step."""
        return 1


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's parameters."""
    return next(module.parameters()).device
