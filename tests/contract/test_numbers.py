"""Whole numbers in the config of every registered part: what is out of range is refused by name."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Annotated, get_args, get_origin

import pytest

from zoo.registry import REGISTRIES, Part
from zoo.schema import Bounds, PerDirection, PerDomain
from zoo.typed import Checker, hints_of, to_node

MAY_BE_0 = {"free_layers", "queue_size"}  # of networks


def whole_numbers(cls: type, prefix: str = "") -> Iterator[tuple[str, Bounds | None]]:
    """Dotted names of the fields that hold a whole number, and their bounds."""
    for field in fields(cls):
        hint, bounds = hints_of(cls)[field.name], None
        if get_origin(hint) is Annotated:
            hint, *rest = get_args(hint)
            bounds = next((item for item in rest if isinstance(item, Bounds)), None)
        choices = (hint,) if isinstance(hint, type) else get_args(hint)
        for choice in choices if get_origin(hint) not in (tuple, dict) else ():
            if choice is int:
                yield prefix + field.name, bounds
            elif is_dataclass(choice) and choice not in (Part, PerDomain, PerDirection):
                yield from whole_numbers(choice, f"{prefix}{field.name}.")


ALL = {
    (kind, name, path): bounds
    for kind, registry in REGISTRIES.items()
    for name in registry.names()
    for path, bounds in whole_numbers(registry[name].Config)
}
SIZES = [key for key in ALL if key[0].endswith("ators") and key[2] not in MAY_BE_0]


def problems(kind: str, name: str, path: str, number: int) -> list[str]:
    """What a recipe with that number is told."""
    section, _, field = path.rpartition(".")
    given = {section: {field: number}} if section else {field: number}
    if "root" in {field.name for field in fields(REGISTRIES[kind][name].Config)}:
        given["root"] = "somewhere"
    checker = Checker()
    checker.part(REGISTRIES[kind], to_node({"name": name, **given}, "x.yaml:3"), "part")
    return checker.problems


def test_the_fields_are_found():
    assert ("generators", "resnet", "width") in ALL
    assert ("generators", "unet", "num_downs") in ALL
    assert ("methods", "discogan", "curriculum.images") in ALL
    assert ("discriminators", "projected", "width") in SIZES
    assert ("generators", "resnet", "norm") not in ALL


@pytest.mark.parametrize("key", ALL, ids="-".join)
def test_a_negative_number_is_refused(key):
    (problem,) = problems(*key, -1)
    assert problem.startswith("x.yaml:3: part")
    assert key[2].rpartition(".")[2] in problem
    assert "-1" in problem


@pytest.mark.parametrize("key", SIZES, ids="-".join)
def test_a_network_of_size_0_is_refused(key):
    (problem,) = problems(*key, 0)
    bounds = ALL[key]
    assert bounds is not None
    assert problem == f"x.yaml:3: part.{key[2]}: 0 is too small; at least {bounds.least:g}"


@pytest.mark.parametrize("key", [key for key in ALL if ALL[key]], ids="-".join)
def test_the_least_number_is_taken(key):
    least = int(ALL[key].least)
    assert problems(*key, least - 1)
    assert not [p for p in problems(*key, least) if "too small" in p]
