"""Small instances of every registered part, one for each choice that its config offers."""

from dataclasses import fields, replace
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import torch
import torch.nn.functional as F
from torch import nn

from zoo.layers.conv import check_size
from zoo.protocols import Shape
from zoo.registry import Registry, slot_registry

SMALL = {
    "width": 6,
    "num_blocks": 1,
    "pool_size": 2,
    "taps": (0, 4, 8, 10),
    "num_patches": 8,
    "sampler_width": 6,
    "update_interval": 0,  # methods that alternate update both players in their first step
    "history_size": 2,
    "generator_warmup_images": 0,
    "discriminator_warmup_images": 0,
    "backbone": "random-vgg16",
    "latent_size": 5,
    "encoder_width": 6,
    "search_steps": 2,
    "search_restarts": 2,
    "num_levels": 2,
    "pretrained": False,
    "resolution": 128,
}
NEED_FILES = {"backbone", "pretrained"}  # fields whose other choices need published weights

SHAPE = Shape(3, 32, 32)


def small(config):
    """The config with little width and depth, in its slots too."""
    changes = {f.name: SMALL[f.name] for f in fields(config) if f.name in SMALL}
    for slot in fields(config):
        if slot_registry(slot) is not None:
            part = getattr(config, slot.name)
            changes[slot.name] = replace(part, config=small(part.config))
    return replace(config, **changes)


def variants(registry: Registry) -> dict[str, tuple[type, object]]:
    """Class and small config by a readable name: the defaults, then each other choice alone."""
    found = {}
    for name in registry.names():
        cls = registry[name]
        base = small(cls.Config())
        found[name] = (cls, base)
        for field, hint in get_type_hints(cls.Config, include_extras=True).items():
            for choice in _choices(hint) if field not in NEED_FILES else ():
                if choice != getattr(base, field):
                    found[f"{name}-{field}={choice}"] = (cls, replace(base, **{field: choice}))
    return found


def from_images(cls: type) -> type:
    """The generator, made to read images where it reads features: a pixel's 4 x 4 neighbours."""
    if getattr(cls, "reads", "image") != "features":
        return cls

    class FromImages(nn.Module):
        Config, offers, size_multiple = cls.Config, cls.offers, cls.size_multiple

        def __init__(self, config, source, target):
            super().__init__()
            check_size(cls.__name__, source.height, source.width, multiple=4)
            features = Shape(16 * source.channels, source.height // 4, source.width // 4)
            self.decoder = cls(config, features, target)
            self.fixed_size = self.decoder.fixed_size

        def forward(self, x):
            check_size(cls.__name__, *x.shape[2:], multiple=4)
            return self.decoder(F.pixel_unshuffle(x, 4))

    return FromImages


def awake(module: nn.Module) -> nn.Module:
    """The module, its single gates that are shut at the start opened a little."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("lamda"):
                parameter.fill_(0.1)
    return module


def _choices(hint) -> tuple:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if hint is bool:
        return (False, True)
    return get_args(hint) if get_origin(hint) is Literal else ()
