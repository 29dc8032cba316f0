"""Small instances of every registered part, one for each choice that its config offers."""

from dataclasses import fields, replace
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

from zoo.protocols import Shape
from zoo.registry import Registry, slot_registry

# update_interval 0: both players of a method that alternates are updated in its first step
SMALL = {"width": 6, "num_blocks": 1, "pool_size": 2, "update_interval": 0}

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
            for choice in _choices(hint):
                if choice != getattr(base, field):
                    found[f"{name}-{field}={choice}"] = (cls, replace(base, **{field: choice}))
    return found


def _choices(hint) -> tuple:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if hint is bool:
        return (False, True)
    return get_args(hint) if get_origin(hint) is Literal else ()
