"""Optimizers, and learning rates as functions of the images seen."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from zoo.registry import UserError, nearest
from zoo.schema import Optim, Schedule

_ALGORITHMS = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD}


def learning_rate_factor(schedule: Schedule, images_seen: int) -> float:
    """The share of the starting rate that the step after `images_seen` images uses, 0 to 1.

    With s = images_seen // every_images + 1 and n, d the constant and decaying lengths in units of
    `every_images`, the factor is 1 − max(0, s − n)/(d + 1) for `last: nonzero`, the rule of the
    published CycleGAN (s is the epoch), and 1 − max(0, s − n)/d for `last: zero`, the rule of the
    published U-GAT-IT (s is the iteration). It never falls below 0.
    """
    if schedule.name == "constant":
        return 1.0
    s = images_seen // schedule.every_images + 1
    n = schedule.constant_images // schedule.every_images
    d = schedule.decay_images // schedule.every_images + (schedule.last == "nonzero")
    if s <= n:
        return 1.0
    return max(0.0, 1.0 - (s - n) / d) if d else 0.0


def build_optimizers(
    optim: Optim, players: dict[str, list[nn.Module]]
) -> dict[str, torch.optim.Optimizer]:
    """One optimizer per player, over its modules' parameters, those that never learn left out.

    Raises:
        UserError: `optim.players` names a player that the method has not.
    """
    for name in optim.players:
        if name not in players:
            raise UserError(
                f"optim.players.{name}: the method has no player {name!r}."
                f"{nearest(name, players)} Players: {', '.join(players)}"
            )
    return {name: _build(optim, name, parameters_of(nets)) for name, nets in players.items()}


def parameters_of(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """Every parameter that learns once, in order."""
    parameters = (p for module in modules for p in module.parameters() if p.requires_grad)
    return list(dict.fromkeys(parameters))


def player_setting(optim: Optim, player: str, setting: str):
    """The value of `lr`, `betas` or `weight_decay` that a player uses."""
    own = getattr(optim.players.get(player), setting, None)
    return getattr(optim, setting) if own is None else own


def _build(optim: Optim, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    options: dict[str, Any] = {
        "lr": player_setting(optim, player, "lr"),
        "weight_decay": player_setting(optim, player, "weight_decay"),
    }
    if optim.name == "adam":
        options["betas"] = tuple(player_setting(optim, player, "betas"))
    if optim.name != "rmsprop":
        options["fused"] = True  # one kernel over all parameters
    return _ALGORITHMS[optim.name](parameters, **options)
