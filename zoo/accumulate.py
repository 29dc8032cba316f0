"""Gradients summed over micro-batches: a large batch in the memory of a small one.

Every group of `Method.passes` has a pass of its own over the micro-batches, in which nobody else
is updated, so that a later group meets the earlier ones as their update left them: in one common
pass the generators of U-GAT-IT would learn from discriminators that have not learnt yet. A pass
repeats the forwards up to its group's update. What a step remembers is at the start of every pass
as at the start of the step, and what belongs to the batch as a whole (`once_a_batch`) is made for
the first micro-batch only, and after the update of the pass before.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo.layers.adversarial import Adversarial
from zoo.layers.batch_values import BatchValues
from zoo.layers.recompute import recomputing
from zoo.method import Method, Terms
from zoo.protocols import Batch
from zoo.registry import UserError
from zoo.update import Updater, rank, seed_everything, weights_by_path


class Accumulation:
    """Takes steps on k micro-batches that equal steps on whole batches.

    They are equal up to rounding, except that what is drawn for every image, such as dropout, is
    drawn anew: from the same distribution, but with other outcomes.

    Args:
        updater: of a method that `refuse_inexact` lets pass.
        micro_batches: k, above 1.
    """

    def __init__(self, updater: Updater, micro_batches: int):
        self.updater, self.method, self.k = updater, updater.method, micro_batches
        self._losses = [part for part in self.method.children() if isinstance(part, Adversarial)]

    def step(self, batch: Batch) -> None:
        """One iteration, in place of `Updater.step`.

        Args:
            batch: of a multiple of k images.
        """
        means: dict[str, Tensor] = {}
        remembered, values = self.method.extra_state(), BatchValues()
        buffers = [(buffer, buffer.clone()) for buffer in self.method.buffers()]
        for group in self.method.passes:
            self.method.load_extra_state(remembered)
            for buffer, before in buffers:
                buffer.copy_(before)
            means |= self._pass(_Pass(self.updater, group, self.k), batch, values)
        self.updater.terms = means
        self.updater.finish(batch)

    def _pass(self, update: "_Pass", batch: Batch, values: BatchValues) -> dict[str, Tensor]:
        """Step one group; returns the means of its terms over the micro-batches."""
        counts = [loss.state() for loss in self._losses]
        terms: list[dict[str, Tensor]] = []
        self.updater.seed_pools(batch.step)  # a pool goes on from one micro-batch to the next
        for number, part in enumerate(batch.chunk(self.k)):
            for loss, count in zip(self._losses, counts, strict=True):
                if count:
                    loss.load(count)  # losses count steps, not micro-batches
            self.updater.terms, update.number = {}, number
            seed_everything(self.updater.seed, batch.step, rank(), number)
            common = values.for_micro_batch(number)
            recompute = recomputing(self.updater.recompute)
            with self.updater.autocast(), recompute, common, contextlib.suppress(_EndOfPass):
                self.method.step(replace(part, images_seen=batch.images_seen), update)
            terms.append(self.updater.terms)
        self.updater.step_waiting()
        return {key: torch.stack([of_part[key] for of_part in terms]).mean() for key in terms[0]}


class _Pass:
    """The `update` that a method gets while the gradients of one group are summed.

    Attributes:
        number: of the micro-batch.
    """

    number = 0

    def __init__(self, updater: Updater, group: tuple[str, ...], k: int):
        self.updater, self.group, self.k = updater, group, k
        passes = updater.method.passes
        self.is_final = group == passes[-1]
        self.earlier = {p for other in passes[: passes.index(group)] for p in other}
        self.totals: dict[str, Tensor] = {}

    def __call__(self, player: str, terms: Terms) -> None:
        """Backward for a player of the group; the step at the end of the last micro-batch.

        Raises:
            UserError: as `Updater`.
            _EndOfPass: nothing that follows belongs to this pass.
        """
        self.updater.check(player)
        if player in self.earlier:
            return
        if player not in self.group:
            raise _EndOfPass
        last = self.number == self.k - 1
        if terms:
            total = self.updater.backward(player, terms, parts=self.k, first=self.number == 0)
            self.totals[player] = self.totals.get(player, 0) + total
            if last:
                self.updater.ready(player, self.totals[player])
        if player == self.group[-1]:
            if last:
                self.updater.step_waiting()
            if not (last and self.is_final):  # the next pass does what follows, `after_step` too
                raise _EndOfPass


class _EndOfPass(Exception):
    """A micro-batch has given its gradients to the group whose pass it is."""


def refuse_inexact(method: Method, batch: int, micro_batches: int, processes: int = 1) -> None:
    """Refuse what would not equal the step on the whole batch.

    Args:
        method: in training mode.
        batch: `train.batch`.
        micro_batches: `train.accumulate`; 1 is never refused.
        processes: that share the batch.

    Raises:
        UserError: the batch does not divide, the method does not tell its passes, or one of its
            parts treats images of a batch together.
    """
    if micro_batches == 1:
        return
    if batch % (micro_batches * processes):
        raise UserError(
            f"train.batch is {batch}, which {processes} processes with train.accumulate "
            f"{micro_batches} each cannot share equally; a multiple of {micro_batches * processes} "
            f"is needed"
        )
    name = type(method).__name__
    if {player for group in method.passes for player in group} != set(method.players()):
        raise UserError(
            f"train.accumulate is {micro_batches}, but {name} does not say in `passes` in which "
            f"order its players are updated, as methods with several updates of one player in a "
            f"step cannot; set train.accumulate to 1"
        )
    for path, reason in _reasons(method):
        raise UserError(
            f"train.accumulate is {micro_batches}, but micro-batches would not give the result of "
            f"the whole batch: {path} of {name} {reason}; set train.accumulate to 1 or choose "
            f"another part"
        )


def _reasons(method: Method) -> Iterator[tuple[str, str]]:
    """Paths of parts that treat images of a batch together, and how."""
    weights = weights_by_path(method.weights)
    for path, part in [*method.named_modules(), *method.stateful().items()]:
        owner = path.partition(".")[0]
        own = [value for key, value in weights.items() if key.partition(".")[0] == owner]
        if own and not any(own):
            continue  # a loss that counts nothing is not computed
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training:
            yield path, "normalises by the statistics of the batch (norm: instance does not)"
        elif getattr(part, "whole_batch", ""):
            yield path, part.whole_batch


def price(method: Method, batch: int, micro_batches: int) -> str:
    """What accumulation costs, one line for people."""
    passes = " then ".join(" and ".join(group) for group in method.passes)
    again = "no forward is repeated"
    if len(method.passes) > 1:
        again = f"each pass repeats the forwards before its update: {passes}"
    return (
        f"a step goes {len(method.passes)} x over {micro_batches} micro-batches of "
        f"{batch // micro_batches}; {again}"
    )
