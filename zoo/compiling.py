"""Whether the networks of a training are compiled: the recipe's `train.compile`."""

import logging

import torch

from zoo.layers.compiled import compile_regions
from zoo.method import Method
from zoo.schema import Recipe

log = logging.getLogger("zoo.compile")

_PAYS_FROM = 50_000  # images of 256 x 256 pixels; saves minutes for the minutes of compilation


def pays(images: int, size: int, device: torch.device) -> bool:
    """Whether a run of that length is expected to gain more than compiling its networks costs.

    What compiling saves grows with the pixels that go through the networks, what it costs does not.
    On a CPU it saves too little to be paid back by any usual run. The answer depends on no clock,
    so that a recipe always makes the same run.

    Args:
        images: of the whole run.
        size: side of an image, pixels.
        device: of the training.
    """
    return device.type == "cuda" and images * size**2 >= _PAYS_FROM * 256**2


def compile_as_told(recipe: Recipe, method: Method, device: torch.device) -> None:
    """Compile what the method's networks declare if `recipe.train.compile` says so.

    What `auto` comes to is written into the recipe, so that a resumed run goes on alike.
    """
    settings = recipe.train
    if settings.compile == "auto":
        whole = not settings.recompute and settings.accumulate == 1  # neither works with it
        gains = whole and pays(settings.images, recipe.data.config.size, device)
        settings.compile = "on" if gains else "off"
    if settings.compile == "off":
        return
    if not compile_regions([net for nets in method.players().values() for net in nets]):
        log.warning(
            f"train.compile is on, but no network of {recipe.method.name} declares regions, so "
            f"nothing is compiled"
        )
