"""Plain values with the places they come from, and their check against dataclasses.

`merge` lays one tree of values over another, `Checker` turns a tree into dataclasses, collecting
every problem, and `to_plain` turns dataclasses into values again.
"""

import math
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from zoo.registry import Part, Registry, UserError, nearest, slot_registry, why_unfit
from zoo.schema import Bounds, PerDirection, PerDomain

_BAD: Any = object()  # stands for a value with a problem
_READ = {"image": "images", "features": "features of an encoder", "latent": "latent vectors"}
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class Node:
    """A value and where it stands.

    Attributes:
        value: a dict of nodes, a list of nodes, or one scalar.
        place: for messages, "recipes/demo.yaml:4" or "command line".
        text: a scalar as it was written, before YAML took `no` for false.
        folder: what relative paths are relative to.
        under: the node that this one replaced. It matters for short forms only: the mapping
            `{num_blocks: 6}` laid over the short form `resnet` still means a resnet.
    """

    value: Any
    place: str
    text: str = ""
    folder: Path = Path()
    under: "Node | None" = None


def to_node(value: Any, place: str) -> Node:
    """Nodes from Python values."""
    if isinstance(value, Mapping):
        return Node({str(key): to_node(item, place) for key, item in value.items()}, place)
    if isinstance(value, list | tuple):
        return Node([to_node(item, place) for item in value], place)
    return Node(value, place, str(value))


def merge(base: Node | None, over: Node) -> Node:
    """`over` laid over `base`: mappings merge, everything else replaces.

    A mapping whose `name` changes starts afresh, so that no part gets the settings of another.
    """
    if base is None:
        return over
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return replace(over, under=base)
    names = [node.value["name"].value for node in (base, over) if "name" in node.value]
    if len(names) == 2 and names[0] != names[1]:
        return over
    merged = dict(base.value)
    for key, node in over.value.items():
        merged[key] = merge(merged.get(key), node)
    return replace(over, value=merged, under=base.under)


def _spelled_out(node: Node, keys: Sequence[str], short: type | types.UnionType) -> Node | None:
    """The mapping that a short form stands for: {key: value, …}, over what it was laid over."""
    if isinstance(node.value, dict):
        mapping = node
    elif isinstance(node.value, short) and not isinstance(node.value, bool):
        mapping = replace(node, value=dict.fromkeys(keys, replace(node, under=None)))
    else:
        return None
    under = _spelled_out(node.under, keys, short) if node.under else None
    return merge(under, replace(mapping, under=None))


class Checker:
    """Turns nodes into typed values.

    Attributes:
        problems: one line each, `place: dotted.path: what is wrong`.
    """

    def __init__(self):
        self.problems: list[str] = []

    def problem(self, node: Node, path: str, message: str) -> Any:
        """Note a problem; returns the mark of a bad value."""
        self.problems.append(": ".join(filter(None, (node.place, path, message))))
        return _BAD

    def config(self, cls: Any, node: Node, path: str, default: Any = None) -> Any:
        """An instance of the dataclass `cls`; fields not in `node` are those of `default`."""
        if isinstance(node.value, cls):
            return node.value
        known = {field.name: field for field in fields(cls) if field.init}
        if "name" in known:
            node = _spelled_out(node, ["name"], str) or node
        if not isinstance(node.value, dict):
            return self.problem(node, path, f"expected a mapping, got {_got(node)}")

        values = {}
        for key, item in node.value.items():
            where = f"{path}.{key}" if path else key
            if key in known:
                values[key] = self._field(cls, known[key], item, where)
            else:
                self.problem(
                    item,
                    where,
                    f"{class_name(cls)} has no field {key!r}.{nearest(key, known)} "
                    f"Fields: {', '.join(known)}",
                )
        missing = [name for name in known if name not in values and is_required(known[name])]
        if missing and default is None:
            return self.problem(node, path, f"{class_name(cls)} needs {', '.join(missing)}")
        if len(values) < len(node.value) or any(value is _BAD for value in values.values()):
            return _BAD
        try:
            return cls(**values) if default is None else replace(default, **values)
        except UserError as error:
            return self.problem(node, path, str(error))

    def part(
        self,
        registry: Registry,
        node: Node,
        path: str,
        default: str | None = None,
        needs: Iterable[str] = (),
        reads: str | None = None,
    ) -> Any:
        """A `Part`, from a name or from a mapping of `name` and the fields of its config.

        Args:
            registry: where the name is looked up.
            node: the name or the mapping.
            path: of the slot, for messages.
            default: the name of a mapping without one.
            needs: what the part must offer.
            reads: what the slot gives to the part; None: anything.
        """
        if isinstance(node.value, Part):
            return node.value
        mapping = _spelled_out(node, ["name"], str)
        if mapping is None:
            return self.problem(
                node, path, f"expected the name of a {registry.kind} or a mapping, got {_got(node)}"
            )
        given = dict(mapping.value)
        name = given.pop("name", Node(default, mapping.place))
        if not isinstance(name.value, str):
            return self.problem(name, path, f"the mapping of a {registry.kind} needs a name")
        try:
            owner: Any = registry[name.value]
        except UserError as error:
            return self.problem(name, path, str(error))

        unfit = why_unfit(registry, name.value, needs, reads)
        for message in unfit:
            self.problem(name, path, message)
        config = self.config(owner.Config, replace(mapping, value=given), path)
        return _BAD if config is _BAD or unfit else Part(registry, name.value, config)

    def _field(self, cls: type, field: Field, node: Node, path: str) -> Any:
        registry = slot_registry(field)
        if registry is None:
            return self.value(hints_of(cls)[field.name], node, path, field)
        default, needs = field.metadata["default"], field.metadata["needs"]
        reads = field.metadata["reads"]
        if isinstance(default, str):
            return self.part(registry, node, path, default, needs, reads)
        if not isinstance(node.value, dict):
            return self.problem(
                node, path, f"expected a mapping of {registry.plural}, got {_got(node)}"
            )
        chosen = {key: registry.default(name) for key, name in default.items()}
        for key, item in node.value.items():
            chosen[key] = self.part(registry, item, f"{path}.{key}", default.get(key), needs, reads)
        return _BAD if any(value is _BAD for value in chosen.values()) else chosen

    def value(self, hint: Any, node: Node, path: str, field: Field | None = None) -> Any:
        """The node's value as the type `hint`; `field`, where there is one, has the default."""
        origin, args = get_origin(hint), get_args(hint)
        if origin is Annotated:
            value = self.value(args[0], node, path, field)
            bounds = next((m for m in args[1:] if isinstance(m, Bounds)), None)
            return self._bounded(value, bounds, node, path) if bounds else value
        if hint is Any:
            return _plain(node)
        if origin in (Union, types.UnionType):
            return self._union(args, node, path, field)
        if origin is Literal:
            return self._literal(args, node, path)
        if hint in _KINDS:
            return self._scalar(hint, node, path)
        if origin in (tuple, list, Sequence):
            return self._items(origin, args, node, path)
        if origin in (dict, Mapping):
            return self._mapping(args[1], node, path, field)
        if hint in (PerDomain, PerDirection):
            keys = [item.name for item in fields(hint)]
            spelled = _spelled_out(node, keys, int | float | str)
            if spelled is None or (isinstance(node.value, str) and not _is_number(node.value)):
                return self.problem(
                    node, path, f"expected a number or a mapping of {keys}, got {_got(node)}"
                )
            return self.config(hint, spelled, path, default_of(field))
        if is_dataclass(hint):
            # What the class computes from other fields must be computed anew, hence no default
            # unless the owner changed it.
            plain = field is None or field.default_factory is hint
            return self.config(hint, node, path, None if plain else default_of(field))
        raise TypeError(f"{path}: a config cannot have a field of type {hint}")

    def _bounded(self, value: Any, bounds: Bounds, node: Node, path: str) -> Any:
        numbers = value if isinstance(value, tuple) else [value]
        for number in numbers:
            if not isinstance(number, int | float):
                continue
            if number < bounds.least:
                least = f"{bounds.least:g}"
                return self.problem(node, path, f"{number:g} is too small; at least {least}")
            if number > bounds.most:
                return self.problem(node, path, f"{number:g} is too large; at most {bounds.most:g}")
        return value

    def _union(self, args: tuple, node: Node, path: str, field: Field | None) -> Any:
        if node.value is None and type(None) in args:
            return None
        trials = []
        for hint in sorted(args, key=lambda arg: get_origin(arg) is not Literal):
            if hint is type(None):
                continue
            trial = Checker()
            value = trial.value(hint, node, path, field)
            if not trial.problems:
                return value
            trials.append(trial)
        if len(trials) == 1:
            self.problems += trials[0].problems
            return _BAD
        choices = [value for arg in args if get_origin(arg) is Literal for value in get_args(arg)]
        return self.problem(
            node,
            path,
            f"expected {' or '.join(_expected(arg) for arg in args)}, got {_got(node)}."
            f"{nearest(node.text, map(str, choices))}".removesuffix("."),
        )

    def _literal(self, choices: tuple, node: Node, path: str) -> Any:
        for choice in choices:
            same = choice == node.value and type(choice) is type(node.value)
            # `precision: no` reaches us as false, but can only mean the choice spelled so.
            if same or (choice == node.text and not isinstance(node.value, dict | list)):
                return choice
        return self.problem(
            node,
            path,
            f"{_got(node)} is not a choice.{nearest(node.text, map(str, choices))} "
            f"Choices: {', '.join(map(str, choices))}",
        )

    def _scalar(self, kind: type, node: Node, path: str) -> Any:
        value = node.value
        if kind in (bool, str):
            if isinstance(value, kind):
                return value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if kind is float and not math.isnan(value):
                return float(value)
            if kind is int and math.isfinite(value) and value == int(value):
                return int(value)
        elif isinstance(value, str) and _is_number(value):  # YAML reads 2e-4 as text
            return self._scalar(kind, replace(node, value=float(value)), path)
        hint = ""
        if kind is str and node.text and not isinstance(value, dict | list):
            hint = f'; to mean the text, put it in quotes: "{node.text}"'
        return self.problem(node, path, f"expected {_KINDS[kind]}, got {_got(node)}{hint}")

    def _items(self, origin: Any, args: tuple, node: Node, path: str) -> Any:
        if not isinstance(node.value, list):
            return self.problem(node, path, f"expected a list, got {_got(node)}")
        open_ended = origin is not tuple or args[-1] is Ellipsis
        if not open_ended and len(node.value) != len(args):
            return self.problem(
                node, path, f"expected a list of {len(args)} values, got {len(node.value)}"
            )
        hints = [args[0]] * len(node.value) if open_ended else args
        values = [
            self.value(hint, item, f"{path}[{i}]")
            for i, (hint, item) in enumerate(zip(hints, node.value, strict=True))
        ]
        if any(value is _BAD for value in values):
            return _BAD
        return tuple(values) if origin is tuple else values

    def _mapping(self, hint: Any, node: Node, path: str, field: Field | None) -> Any:
        if not isinstance(node.value, dict):
            return self.problem(node, path, f"expected a mapping, got {_got(node)}")
        values = dict(default_of(field) or {})
        for key, item in node.value.items():
            values[key] = self.value(hint, item, f"{path}.{key}")
        return _BAD if any(value is _BAD for value in values.values()) else values


def to_plain(value: Any) -> Any:
    """Dataclasses and parts as dicts, lists and scalars that `Checker` takes back."""
    if isinstance(value, Part):
        return {"name": value.name, **to_plain(value.config)}
    if isinstance(value, PerDomain | PerDirection):
        both = {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
        first, second = both.values()
        return first if first == second else both
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value) if f.init}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)  # 10.0 and 10 are one setting
    return value


def class_name(cls: type) -> str:
    """The class with its owner, `UnetGenerator.Config`."""
    return cls.__qualname__.rpartition("<locals>.")[2]


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """The types of a config's fields, with the `Annotated` that holds their help."""
    return get_type_hints(cls, localns=dict(vars(cls)), include_extras=True)


def is_required(field: Field) -> bool:
    """Whether a field has no default."""
    return field.default is MISSING and field.default_factory is MISSING


def default_of(field: Field | None) -> Any:
    """A field's default, made anew; None without one."""
    if field is None or is_required(field):
        return None
    return field.default if field.default_factory is MISSING else field.default_factory()


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(item) for item in node.value]
    return node.value


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?", text) is not None


def _got(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if isinstance(node.value, bool):
        return f"{node.text} ({str(node.value).lower()})"
    return "nothing" if node.value is None else repr(node.value)


def _expected(hint: Any) -> str:
    """A type in the words of a message."""
    if get_origin(hint) is Annotated:
        return _expected(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return ", ".join(map(repr, get_args(hint)))
    if get_origin(hint) in (tuple, list, Sequence):
        return "a list"
    return "null" if hint is type(None) else _KINDS.get(hint, "a mapping")
