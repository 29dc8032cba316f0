"""`update(player, terms)`: from named terms to a step of one player's optimizer.

Backward reaches the player's own parameters only. Gradients are averaged over processes. A flag on
the device, the gate, rises with the first non-finite term or gradient and stays: from that step on no
weight, moment or average changes, without the host having to look at every step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from zoo.ema import Ema
from zoo.method import Method, Terms, device_of
from zoo.optim import build_optimizers, learning_rate_factor, parameters_of, player_setting
from zoo.protocols import Batch
from zoo.registry import UserError, nearest
from zoo.schema import Optim, PerDirection, PerDomain

_BUCKET_BYTES = 64 * 2**20


class TrainingDiverged(RuntimeError):
    """A step had a non-finite term or gradient; the weights are those of the step before."""


@dataclass(frozen=True)
class StepRecord:
    """What one step computed, on the host."""

    step: int
    images_seen: int
    files: tuple[tuple[str, str], ...]
    terms: dict[str, float]
    bad: bool


@dataclass
class _Pending:
    step: int
    images_seen: int
    files: tuple[tuple[str, str], ...]
    values: dict[str, Tensor]
    bad: Tensor
    extra_state: Mapping[str, list[Tensor]]  # as it was before the step


class Updater:
    """The trainer's half of a step.

    Args:
        method: whose players are optimised and whose `weights` weigh the terms.
        optim: the recipe's optimizer section.
        ema: moved once a step, or None.
        scaler: accelerate's gradient scaler in fp16, else None.
    """

    def __init__(self, method: Method, optim: Optim, ema: Ema | None = None, scaler=None):
        self.method = method
        self.optim = optim
        self.ema = ema
        self.scaler = scaler
        self.players = {name: parameters_of(nets) for name, nets in method.players().items()}
        self.optimizers = build_optimizers(optim, method.players())
        self.bad = torch.zeros((), device=device_of(method))  # the gate: 1 once a step went wrong
        self.player_of: dict[str, str] = {}  # term -> player, for the log
        self._groups = {player: group for group in method.passes for player in group}
        self._undo = {name: _Undo() for name in self._players_before_the_last_group()}
        self._waiting: list[str] = []
        self._terms: dict[str, Tensor] = {}
        self._pending: list[_Pending] = []
        self._extra_state = method.extra_state()

    def _players_before_the_last_group(self) -> list[str]:
        if not self.method.passes:
            return list(self.players)
        return [name for name in self.players if name not in self.method.passes[-1]]

    def start(self, batch: Batch) -> None:
        """Set the learning rates of the step to come."""
        self._extra_state = self.method.extra_state()
        factor = learning_rate_factor(self.optim.schedule, batch.images_seen)
        for player, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = player_setting(self.optim, player, "lr") * factor

    def __call__(self, player: str, terms: Terms) -> None:
        """Weigh and sum `terms`, go backward to `player`'s parameters and step its optimizer.

        Players that share a group of `Method.passes` do not see each other's update, so they are
        stepped together, at the group's last update. Without terms the player is left as it is.

        Raises:
            UserError: the method has no such player, or a term has no weight.
        """
        if player not in self.players:
            raise UserError(
                f"update({player!r}): the method has no such player."
                f"{nearest(player, self.players)} Players: {', '.join(self.players)}"
            )
        if terms:
            self._backward(player, terms)
            self._waiting.append(player)
        if player == self._groups.get(player, (player,))[-1]:
            self._step_waiting()

    def finish(self, batch: Batch) -> None:
        """End of a step: step who still waits, move the EMA, remember the terms."""
        self._step_waiting()
        if self.ema is not None:
            self.ema.move(len(batch.a) * world_size(), 1 - self.bad)
        self._pending.append(
            _Pending(
                batch.step,
                batch.images_seen,
                batch.files,
                self._terms,
                self.bad.clone(),
                self._extra_state,
            )
        )
        self._terms = {}

    def records(self) -> list[StepRecord]:
        """The steps since the last call; one copy to the host for all of them.

        When a step went wrong, everything is put back to how the step before left it first.
        """
        pending, self._pending = self._pending, []
        values = [value.float() for p in pending for value in (*p.values.values(), p.bad)]
        numbers = iter(torch.stack(values).tolist() if values else [])
        records = [
            StepRecord(
                p.step,
                p.images_seen,
                p.files,
                {key: next(numbers) for key in p.values},
                bool(next(numbers)),
            )
            for p in pending
        ]
        first_bad = next((i for i, record in enumerate(records) if record.bad), None)
        if first_bad is not None:
            self.method.load_extra_state(pending[first_bad].extra_state)
            for undo in self._undo.values():
                undo.restore()
        return records

    def weight(self, key: str) -> float:
        """The weight of term `name` or `name/suffix`: `weights.name` or `weights.name.suffix`."""
        name, *suffixes = key.split("/")
        weights = self.method.weights
        value = getattr(weights, name, None)
        if isinstance(value, PerDomain | PerDirection):
            value = getattr(value, suffixes[0], None) if suffixes else None
        if value is None:
            known = sorted(vars(weights))
            raise UserError(
                f"term {key!r} of {type(self.method).__name__} has no weight."
                f"{nearest(name, known)} Weights: {', '.join(known)}"
            )
        return float(value)

    def state(self) -> dict:
        """Optimizer states by player, for a checkpoint."""
        states = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {"optimizers": states, "scaler": self.scaler.state_dict() if self.scaler else {}}

    def load(self, state: dict) -> None:
        """Take back what `state` returned."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if self.scaler and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

    def _backward(self, player: str, terms: Terms) -> None:
        total = torch.zeros((), device=self.bad.device)
        for key, term in terms.items():
            weight = self.weight(key)
            named = term if isinstance(term, Mapping) else {"": term}
            for part, value in named.items():
                name = f"{key}/{part}" if part else key
                self._terms[name] = value.detach()
                self.player_of[name] = player
                total = total + weight * value
        parameters = self.players[player]
        for parameter in parameters:
            parameter.grad = None
        loss = self.scaler.scale(total) if self.scaler else total
        loss.backward(inputs=parameters)
        self._raise_gate(player, total.detach())
        if world_size() > 1:
            average_gradients(parameters, self.bad)

    def _raise_gate(self, player: str, total: Tensor) -> None:
        ok = torch.isfinite(total)
        if self.scaler is None:  # overflowing fp16 gradients are the scaler's business
            gradients = [p.grad for p in self.players[player] if p.grad is not None]
            if gradients:
                ok = ok & torch.isfinite(torch.nn.utils.get_total_norm(gradients))
        self.bad.copy_(torch.maximum(self.bad, (~ok).to(self.bad.dtype)))

    def _step_waiting(self) -> None:
        for player in self._waiting:
            optimizer = self.optimizers[player]
            if player in self._undo:
                self._undo[player].remember(optimizer, self.bad)
            if self.scaler is not None:
                self.scaler.unscale_(optimizer)
            _gated_step(optimizer, self.bad, self.scaler)
        self._waiting = []


class _Undo:
    """The weights and moments of a player before its last step with an open gate.

    Needed for players that are stepped before the step's last term is known. The records of the
    first steps must be looked at one by one, as moments come into being there.
    """

    def __init__(self) -> None:
        self._optimizer: torch.optim.Optimizer | None = None
        self._kept: list[Tensor] = []

    @torch.no_grad()
    def remember(self, optimizer: torch.optim.Optimizer, bad: Tensor) -> None:
        live = _tensors_of(optimizer)
        self._optimizer = optimizer
        if len(live) != len(self._kept):
            self._kept = [t.clone() for t in live]
            return
        # kept <- live while the gate is open, kept <- kept once it is shut
        torch._foreach_mul_(self._kept, bad)
        torch._foreach_add_(self._kept, torch._foreach_mul(live, 1 - bad))

    @torch.no_grad()
    def restore(self) -> None:
        if self._optimizer is None:
            return
        live = _tensors_of(self._optimizer)
        for now, kept in zip(live, self._kept, strict=False):
            now.copy_(kept)
        if len(live) != len(self._kept):
            self._optimizer.state.clear()  # there were no moments before the first step


def _tensors_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    parameters = [p.detach() for group in optimizer.param_groups for p in group["params"]]
    states = [
        value
        for p in (p for group in optimizer.param_groups for p in group["params"])
        for value in optimizer.state.get(p, {}).values()
        if isinstance(value, Tensor)
    ]
    return [*parameters, *states]


def _gated_step(optimizer: torch.optim.Optimizer, bad: Tensor, scaler) -> None:
    if scaler is not None:
        # Zero gradients cannot shut the gate for Adam (its moments decay), so the flag goes in here.
        found = scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"]
        for flag in found.values():
            flag.copy_(torch.maximum(flag, bad.to(flag.device)))
        scaler.step(optimizer)
        scaler.update()
    elif optimizer.defaults.get("fused"):
        optimizer.found_inf = bad
        optimizer.step()
    else:
        # No fused kernel: step, then take the step back where the gate is shut.
        kept = [t.clone() for t in _tensors_of(optimizer)]
        optimizer.step()
        with torch.no_grad():
            for now, before in zip(_tensors_of(optimizer), kept, strict=False):
                now.copy_(torch.where(bad > 0, before, now))


def world_size() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def average_gradients(parameters: list[torch.nn.Parameter], bad: Tensor) -> None:
    """Average `.grad` over processes in buckets of at most 64 MiB; any process shuts the gate.

    Every process must hold gradients for the same parameters.
    """
    dist.all_reduce(bad, op=dist.ReduceOp.MAX)
    gradients = [p.grad for p in parameters if p.grad is not None]
    bucket: list[Tensor] = []
    for i, gradient in enumerate(gradients):
        bucket.append(gradient)
        size = sum(g.numel() * g.element_size() for g in bucket)
        full = i + 1 == len(gradients) or size + gradients[i + 1].nbytes > _BUCKET_BYTES
        if full or gradients[i + 1].dtype != gradient.dtype:
            flat = torch._utils._flatten_dense_tensors(bucket)
            dist.all_reduce(flat)
            flat /= world_size()
            for g, averaged in zip(
                bucket, torch._utils._unflatten_dense_tensors(flat, bucket), strict=True
            ):
                g.copy_(averaged)
            bucket = []


def raise_if_bad(records: list[StepRecord]) -> None:
    """Raises `TrainingDiverged` naming the first bad step, its terms and its files."""
    for record in records:
        if record.bad:
            terms = ", ".join(
                f"{key} = {value:.4g}" for key, value in sorted(record.terms.items())
            )
            wrong = [key for key, value in record.terms.items() if not math.isfinite(value)]
            files = "; ".join(f"{a} with {b}" for a, b in record.files)
            raise TrainingDiverged(
                f"step {record.step} (after {record.images_seen} images) is not finite: "
                f"{', '.join(wrong) or 'a gradient'}. Nothing was changed by that step and nothing "
                f"was saved after it.\n  terms: {terms}\n  images: {files}\n"
                f"Lower the learning rate or look at those images, then continue with "
                f"`zoo train --resume`"
            )
