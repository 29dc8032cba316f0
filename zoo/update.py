"""One iteration, from a batch to changed weights, and its heart, `update(player, terms)`.

A method computes named terms and calls `update` with them. Here they are weighed and summed;
backward reaches the player's own parameters only; gradients are averaged over processes; the
player's optimizer steps, its gradients are freed, and layers whose weights have a range put them
back into it, by their `constrain`. Whether all was finite is noted on the device, without the host
having to look at every step.
"""

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from zoo.divergence import StepRecord
from zoo.ema import Ema
from zoo.layers.pool import ImagePool
from zoo.layers.recompute import recomputing
from zoo.method import Method, Terms, device_of
from zoo.optim import (
    build_optimizers,
    learning_rate_factor,
    parameters_of,
    player_setting,
)
from zoo.protocols import Batch
from zoo.registry import UserError, nearest
from zoo.schema import Optim, PerDirection, PerDomain

_BUCKET_BYTES = 64 * 2**20


@dataclass
class _Pending:
    """A step whose numbers are still on the device."""

    step: int
    images_seen: int
    files: tuple[tuple[str, str], ...]
    terms: dict[str, Tensor]
    bad: Tensor  # above 0 if a term or a gradient was not finite


class Updater:
    """The trainer's half of a step.

    Args:
        method: whose players are optimised and whose `weights` weigh the terms.
        optim: the recipe's optimizer section.
        ema: moved once a step, or None.
        scaler: accelerate's gradient scaler in fp16, else None.
        seed: of whatever is random in a step.
        recompute: activations in the backward pass, instead of keeping them.
        autocast: makes the context in which the terms are computed.

    Attributes:
        optimizers: by player.
        terms: raw terms of the step so far, by key.
        player_of: the player of every term that has appeared so far.
        weights: by path, `cycle.a` or, where there is one for both sides, `cycle`.
    """

    def __init__(
        self,
        method: Method,
        optim: Optim,
        ema: Ema | None = None,
        scaler: torch.amp.GradScaler | None = None,
        *,
        seed: int = 0,
        recompute: bool = False,
        autocast: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
    ):
        self.method, self.optim, self.ema, self.scaler = method, optim, ema, scaler
        self.seed, self.recompute, self.autocast = seed, recompute, autocast
        self.players = {name: parameters_of(nets) for name, nets in method.players().items()}
        self.optimizers = build_optimizers(optim, method.players())
        self._constrained: dict[str, list[Any]] = {
            name: [layer for net in nets for layer in net.modules() if hasattr(layer, "constrain")]
            for name, nets in method.players().items()
        }
        self.player_of: dict[str, str] = {}
        self.weights = weights_by_path(method.weights)
        self._bad = torch.zeros((), device=device_of(method))
        self._groups = {player: group for group in method.passes for player in group}
        self._waiting: list[str] = []
        self.terms: dict[str, Tensor] = {}
        self._pools = [part for part in method.stateful().values() if isinstance(part, ImagePool)]
        self._pending: list[_Pending] = []

    # An iteration -------------------------------------------------------------------------------

    def start(self, batch: Batch) -> None:
        """Before a step: set its learning rates."""
        factor = learning_rate_factor(self.optim.schedule, batch.images_seen)
        for player, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = player_setting(self.optim, player, "lr") * factor

    def step(self, batch: Batch) -> None:
        """One iteration of the method, then `finish`."""
        # All randomness is keyed by the step's number, so a resumed run draws the same.
        seed_everything(self.seed, batch.step, rank())
        self.seed_pools(batch.step)
        with self.autocast(), recomputing(self.recompute):
            self.method.step(batch, self)
        self.finish(batch)

    def __call__(self, player: str, terms: Terms) -> None:
        """Weigh and sum `terms`, go backward to `player`'s parameters and step its optimizer.

        Players that share a group of `Method.passes` do not see each other's update, so they are
        stepped together, at the group's last update. Without terms the player is left as it is.

        Raises:
            UserError: the method has no such player, the player waits for its group already, or a
                term has no weight.
        """
        self.check(player)
        if terms:
            self.ready(player, self.backward(player, terms))
        if player == self._groups.get(player, (player,))[-1]:
            self.step_waiting()

    def finish(self, batch: Batch) -> None:
        """After a step: step who still waits, move the EMA, keep the terms for `records`."""
        self.step_waiting()
        if self.ema is not None:
            self.ema.move(len(batch.a) * world_size())
        origin = batch.step, batch.images_seen, batch.files
        self._pending.append(_Pending(*origin, self.terms, self._bad))
        self.terms, self._bad = {}, torch.zeros_like(self._bad)

    # Its parts ----------------------------------------------------------------------------------

    def seed_pools(self, step: int) -> None:
        """Give every pool the random numbers of a step."""
        for number, pool in enumerate(self._pools):
            key = np.random.SeedSequence((self.seed, step, rank()), spawn_key=(number,))
            pool.rng = random.Random(int(key.generate_state(1)[0]))

    def check(self, player: str) -> None:
        """Refuse a player that is unknown or waits for its group already.

        Raises:
            UserError: as `update`.
        """
        if player not in self.players:
            raise UserError(
                f"update({player!r}): the method has no such player."
                f"{nearest(player, self.players)} Players: {', '.join(self.players)}"
            )
        if player in self._waiting:
            raise UserError(
                f"update({player!r}) was called twice before the end of a group of "
                f"{type(self.method).__name__}.passes; a method that does so leaves `passes` empty"
            )

    def backward(self, player: str, terms: Terms, *, parts: int = 1, first: bool = True) -> Tensor:
        """Weigh and sum `terms`; backward to `player`'s parameters alone.

        Args:
            player: whose `.grad` is written.
            terms: as in `update`.
            parts: by which gradients are divided, micro-batches of the batch.
            first: whether `.grad` begins anew.

        Returns:
            The sum, detached, a scalar on the device.
        """
        total = torch.zeros((), device=self._bad.device)
        for key, term in terms.items():
            weight = self.weight(key)
            for part, value in (term if isinstance(term, Mapping) else {"": term}).items():
                name = f"{key}/{part}" if part else key
                self.terms[name] = value.detach()
                self.player_of[name] = player
                total = total + weight * value
        parameters = self.players[player]
        for parameter in parameters if first else ():
            parameter.grad = None
        loss = self.scaler.scale(total) if self.scaler else total
        (loss / parts).backward(inputs=parameters)
        return total.detach()

    def ready(self, player: str, total: Tensor) -> None:
        """A player has its gradients: look at them, average them, and let it wait for its group.

        Args:
            player: who is stepped next time.
            total: of its terms; if it is not finite, the step is noted as faulty.
        """
        self._note_fault(self.players[player], total)
        if world_size() > 1:
            average_gradients(self.players[player])
        self._waiting.append(player)

    def _note_fault(self, parameters: list[torch.nn.Parameter], total: Tensor) -> None:
        ok = torch.isfinite(total)
        if self.scaler is None:  # overflowing fp16 gradients are the scaler's business
            gradients = [p.grad for p in parameters if p.grad is not None]
            ok = ok & torch.isfinite(torch.nn.utils.get_total_norm(gradients))
        self._bad += ~ok

    def step_waiting(self) -> None:
        """Step every player that has its gradients."""
        for player in self._waiting:
            optimizer = self.optimizers[player]
            _ = self.scaler.step(optimizer) if self.scaler else optimizer.step()
            optimizer.zero_grad()  # frees them: the next player's take their place
            for layer in self._constrained[player]:
                layer.constrain()
        if self._waiting and self.scaler is not None:
            self.scaler.update()  # once for all of them: their gradients have one scale
        self._waiting = []

    # What the host knows ------------------------------------------------------------------------

    def records(self) -> list[StepRecord]:
        """The steps since the last call; one copy to the host for all of them."""
        pending, self._pending = self._pending, []
        values = [value.float() for p in pending for value in (*p.terms.values(), p.bad)]
        on_device = torch.stack(values) if values else torch.zeros(0)
        if world_size() > 1 and values:
            dist.all_reduce(on_device)
            on_device /= world_size()
        numbers = iter(on_device.tolist())
        return [
            StepRecord(
                step=p.step,
                images_seen=p.images_seen,
                files=p.files,
                terms={key: next(numbers) for key in p.terms},
                bad=bool(next(numbers)),
            )
            for p in pending
        ]

    def weight(self, key: str) -> float:
        """The weight of term `name` or `name/suffix`: `weights.name` or `weights.name.suffix`.

        Raises:
            UserError: there is no such weight.
        """
        name, _, suffix = key.partition("/")
        for path in (f"{name}.{suffix.partition('/')[0]}", name):
            if path in self.weights:
                return self.weights[path]
        raise UserError(
            f"term {key!r} of {type(self.method).__name__} has no weight."
            f"{nearest(key.replace('/', '.'), self.weights)} Weights: {', '.join(self.weights)}"
        )

    def unused_weights(self) -> dict[str, float]:
        """The weights that are not 0 and whose term has not appeared so far."""
        used = {".".join(key.split("/")[:n]) for key in self.player_of for n in (1, 2)}
        return {path: value for path, value in self.weights.items() if value and path not in used}

    def summary(self, steps: list[dict[str, float]]) -> dict[str, dict[str, float]]:
        """Means over steps for the log: learning rates, raw and weighted terms, totals by player.

        Args:
            steps: raw terms of each step; a term that a step lacks does not count for it.
        """
        keys = dict.fromkeys(key for terms in steps for key in terms)
        raw = {key: float(np.mean([terms[key] for terms in steps if key in terms])) for key in keys}
        weighted = {key: self.weight(key) * value for key, value in raw.items()}
        total = dict.fromkeys(map(self.player_of.__getitem__, keys), 0.0)
        for key, value in weighted.items():
            total[self.player_of[key]] += value
        rates = {name: opt.param_groups[0]["lr"] for name, opt in self.optimizers.items()}
        return {"lr": rates, "terms": raw, "weighted": weighted, "total": total}

    # State --------------------------------------------------------------------------------------

    def state(self) -> dict:
        """Optimizer states by player and the like, for a checkpoint."""
        return {
            "optimizers": {name: opt.state_dict() for name, opt in self.optimizers.items()},
            "scaler": self.scaler.state_dict() if self.scaler else {},
            "player_of": self.player_of,
        }

    def load(self, state: dict) -> None:
        """Take back what `state` returned."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if self.scaler and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.player_of = dict(state["player_of"])


def weights_by_path(weights: Any) -> dict[str, float]:
    """Paths and values of a `Config.Weights`: `cycle.a`, or `cycle` if there is one for both."""
    found = {}
    for field in fields(weights):
        value = getattr(weights, field.name)
        if isinstance(value, PerDomain | PerDirection):
            for side in fields(value):
                found[f"{field.name}.{side.name}"] = float(getattr(value, side.name))
        else:
            found[field.name] = float(value)
    return found


# Processes and random numbers -------------------------------------------------------------------


def world_size() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def same_weights_everywhere(module: torch.nn.Module) -> None:
    """Give every process the weights and buffers of the first."""
    if world_size() > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Average `.grad` over processes in buckets of at most 64 MiB.

    While a bucket is on its way the next one is flattened and the one before is put back, so that
    two buckets beside the gradients are held at most. A bucket of one gradient is not copied.
    Every process must hold gradients for the same parameters.
    """
    sent: _Sent | None = None
    for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
        flat = torch._utils._flatten_dense_tensors(bucket)
        now = _Sent(bucket, flat, dist.all_reduce(flat, async_op=True))
        if sent is not None:
            sent.put_back()
        sent = now
    if sent is not None:
        sent.put_back()


class _Sent(NamedTuple):
    """A bucket of gradients that is being summed over the processes."""

    gradients: list[Tensor]
    flat: Tensor
    work: "dist.Work"

    def put_back(self) -> None:
        """Wait for the sum; its mean becomes the gradients."""
        self.work.wait()
        self.flat.div_(world_size())
        means = torch._utils._unflatten_dense_tensors(self.flat, self.gradients)
        if self.flat.data_ptr() != self.gradients[0].data_ptr():
            torch._foreach_copy_(self.gradients, means)


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for gradient in gradients:
        size = sum(g.nbytes for g in bucket) + gradient.nbytes
        if bucket and (size > _BUCKET_BYTES or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


def seed_everything(*key: int) -> None:
    """Seed the generators of torch and `random` by a tuple of numbers."""
    state = np.random.SeedSequence(key).generate_state(2)
    torch.manual_seed(int(state[0]) << 32 | int(state[1]))
    random.seed(int(state[0]))
