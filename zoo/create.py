"""Parts from Python: `list_generators()`, `create_generator("resnet", num_blocks=6)`.

Fields are checked like those of a recipe; a mapping or a name stands for a part within a part.
"""

import inspect
import re
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from zoo.protocols import Shape
from zoo.recipe import recipes_by_part, recipes_using
from zoo.registry import (
    DISCRIMINATORS,
    GENERATORS,
    LOSSES,
    METHODS,
    METRICS,
    REGISTRIES,
    Registry,
    UserError,
    slot_registry,
    source_file,
)
from zoo.schema import PerDirection, PerDomain
from zoo.typed import Checker, default_of, hints_of, is_required, to_node, to_plain

ShapeLike = Shape | tuple[int, int, int]

DEFAULT_SHAPE = Shape(3, 256, 256)


def list_generators() -> list[str]:
    """Names for `create_generator`."""
    return GENERATORS.names()


def list_discriminators() -> list[str]:
    """Names for `create_discriminator`."""
    return DISCRIMINATORS.names()


def list_losses() -> list[str]:
    """Names for `create_loss`."""
    return LOSSES.names()


def list_methods() -> list[str]:
    """Names for `create_method`."""
    return METHODS.names()


def create_generator(
    name: str,
    source: ShapeLike = DEFAULT_SHAPE,
    target: ShapeLike | None = None,
    **config: Any,
) -> Any:
    """A generator with fresh weights; called on images N C H W in [-1, 1] it gives a `Translation`.

    Args:
        name: one of `list_generators()`.
        source: channels, height, width of what it reads.
        target: of what it writes; the source's unless given.
        **config: fields of its `Config`.

    Raises:
        UserError: an unknown name or field, or a wrong value.
    """
    target = source if target is None else target
    return _create(GENERATORS, name, config, source, target)


def create_discriminator(name: str, shape: ShapeLike = DEFAULT_SHAPE, **config: Any) -> Any:
    """A discriminator; called on images N C H W in [-1, 1] it gives a `Judgement`.

    Args:
        name: one of `list_discriminators()`.
        shape: channels, height, width of what it judges.
        **config: fields of its `Config`.

    Raises:
        UserError: an unknown name or field, or a wrong value.
    """
    return _create(DISCRIMINATORS, name, config, shape)


def create_loss(name: str, **config: Any) -> Any:
    """A loss.

    Args:
        name: one of `list_losses()`.
        **config: fields of its `Config`.

    Raises:
        UserError: an unknown name or field, or a wrong value.
    """
    return _create(LOSSES, name, config)


def create_method(
    name: str, a: ShapeLike = DEFAULT_SHAPE, b: ShapeLike = DEFAULT_SHAPE, **config: Any
) -> Any:
    """A method with its networks, a `zoo.method.Method`.

    Args:
        name: one of `list_methods()`.
        a: channels, height, width of domain A.
        b: of domain B.
        **config: fields of its `Config`, such as `generator={"name": "resnet", "num_blocks": 6}`.

    Raises:
        UserError: an unknown name or field, or a wrong value.
    """
    return _create(METHODS, name, config, a, b)


def create_metric(name: str, **config: Any) -> Any:
    """A metric, an `eval.metric.Metric`.

    Args:
        name: one of `zoo list metrics`.
        **config: fields of its `Config`.

    Raises:
        UserError: an unknown name or field, a wrong value, or weights that are missing.
    """
    return _create(METRICS, name, config)


def describe_part(kind: str, name: str) -> dict[str, Any]:
    """What there is to know about a part, as values that JSON can hold.

    Args:
        kind: a key of `zoo.registry.REGISTRIES`, "generators".
        name: the part's.

    Raises:
        UserError: there is none of that name.
    """
    return _describe(REGISTRIES[kind], name, recipes_using(REGISTRIES[kind], name))


def describe_parts(kind: str) -> list[dict[str, Any]]:
    """`describe_part` of every part of a kind, in the order of their names."""
    registry, recipes = REGISTRIES[kind], recipes_by_part()
    return [
        _describe(registry, name, recipes.get((registry, name), [])) for name in registry.names()
    ]


def _describe(registry: Registry, name: str, recipes: list[str]) -> dict[str, Any]:
    owner: Any = registry[name]
    doc, origin = (inspect.getdoc(what) or "" for what in (owner, sys.modules[owner.__module__]))
    paper, year = _citation(f"{doc}\n{origin}")
    return {
        "kind": registry.kind,
        "name": name,
        "class": owner.__qualname__,
        "file": source_file(owner),
        "doc": doc,
        "origin": origin,
        "paper": paper,
        "year": year,
        "offers": sorted(getattr(owner, "offers", ())),
        "fields": field_help(owner.Config),
        "recipes": recipes,
    }


def _citation(text: str) -> tuple[str | None, int | None]:
    """Authors and year of the first paper that a docstring names: "Paper: Zhu et al. 2017, …"."""
    found = re.search(r"\bPapers?: (.+?\b(\d{4}))\b", text, re.DOTALL)
    return (" ".join(found[1].split()), int(found[2])) if found else (None, None)


def field_help(cls: Any, prefix: str = "") -> list[dict[str, Any]]:
    """Name, type, default and help of every field of a config, nested ones by dotted names.

    A field without a default is one that must be given; its default reads "required".
    """
    rows = []
    for field in fields(cls):
        hint, registry = hints_of(cls)[field.name], slot_registry(field)
        text = ""
        if get_origin(hint) is Annotated:
            hint, text = get_args(hint)[0], get_args(hint)[1]
        if is_dataclass(hint) and registry is None and hint not in (PerDomain, PerDirection):
            rows += field_help(hint, f"{prefix}{field.name}.")
            continue
        if registry is not None:
            kind, default = registry.kind, field.metadata["default"]
            default = "required" if is_required(field) else default
            offers = ", ".join(sorted(field.metadata["needs"]))
            kind += f" that offers {offers}" if offers else ""
        else:
            kind = _type_text(hint)
            default = "required" if is_required(field) else to_plain(default_of(field))
        rows.append({"name": prefix + field.name, "type": kind, "default": default, "help": text})
        for inner in get_args(hint):  # of a section that may be null or a word
            if is_dataclass(inner) and get_origin(hint) in (Union, types.UnionType):
                rows += field_help(inner, f"{prefix}{field.name}.")
    return rows


def _type_text(hint: Any) -> str:
    """A type in the words of a table: `int | auto`, `instance | batch`, `[float, float]`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type_text(args[0])
    if origin is Literal:
        return " | ".join(map(str, args))
    if origin in (Union, types.UnionType):
        return " | ".join(map(_type_text, args))
    if origin in (tuple, list, Sequence):
        return f"[{', '.join('...' if arg is Ellipsis else _type_text(arg) for arg in args)}]"
    if origin in (dict, Mapping):
        return f"{{name: {_type_text(args[1])}}}"
    if hint in (PerDomain, PerDirection):
        return f"number | {{{', '.join(item.name for item in fields(hint))}}}"
    return "null" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _create(registry: Registry, name: str, config: dict[str, Any], *shapes: ShapeLike) -> Any:
    caller = f"create_{registry.kind}"
    checker = Checker()
    part = checker.part(registry, to_node({"name": name, **config}, caller), "")
    if checker.problems:
        raise UserError("\n".join(checker.problems))
    return part.build(*(Shape(*shape) for shape in shapes))
