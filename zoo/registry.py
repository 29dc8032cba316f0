"""Named parts: generators, discriminators, losses, methods, data sets, metrics.

A part is a class with a nested dataclass `Config`. It is registered under a name by a decorator and
found by scanning its folder on first use, so a new file is all that a new part needs:

    @GENERATORS.register("star")
    class StarGenerator(nn.Module):
        @dataclass(kw_only=True)
        class Config:
            width: Annotated[int, "filters of the first layer"] = 64

A slot for a part in another part's `Config` is a field made by `part(GENERATORS, "resnet")`.
"""

import ast
import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, field, is_dataclass
from typing import Any


class UserError(ValueError):
    """A mistake the user can mend; the command line prints it without a traceback, exit code 2."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the choice most like `name`, or nothing."""
    found = difflib.get_close_matches(str(name), sorted(choices), n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""


class Registry:
    """Classes of one kind by name.

    Args:
        kind: what one entry is called in messages, "generator".
        package: the package whose modules are imported on first use, "zoo.generators".
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self.plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
        self.package = package
        self._classes: dict[str, type] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[type], type]:
        """Class decorator. Raises `UserError` when another class already owns the name."""

        def decorate(cls: type) -> type:
            other = self._classes.get(name)
            if other is not None and _address(other) != _address(cls):
                raise UserError(
                    f"two {self.plural} are called {name!r}: "
                    f"{' in '.join(_address(other))} and {' in '.join(_address(cls))}; rename one"
                )
            if not is_dataclass(getattr(cls, "Config", None)):
                raise TypeError(f"{cls.__qualname__} needs a nested dataclass Config")
            self._classes[name] = cls
            return cls

        return decorate

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._scan()
        return sorted(self._classes)

    def summaries(self) -> dict[str, str]:
        """The first line of each part's docstring by name, sorted by name.

        Zoo's own files are read and not imported, as that would import torch. They are imported
        where one of them registers in another way than `@GENERATORS.register("name")` above a
        class, and where other distributions bring parts.
        """
        from zoo.plugins import part_entry_points

        found = None if self._scanned or part_entry_points() else self._read_files()
        if found is None:
            self._scan()
            found = {}
        found |= {name: _first_line(cls.__doc__) for name, cls in self._classes.items()}
        return dict(sorted(found.items()))

    def _read_files(self) -> dict[str, str] | None:
        """`summaries` by reading the package's files; None where they do not tell."""
        registries = {n: value for n, value in globals().items() if isinstance(value, Registry)}
        found: dict[str, str] = {}
        for name in _modules(self.package):
            for owner, part_name, summary in _registrations(name):
                if owner not in registries or part_name in found:
                    return None
                if registries[owner] is self:
                    found[part_name] = summary
        return found

    def __contains__(self, name: str) -> bool:
        self._scan()
        return name in self._classes

    def __getitem__(self, name: str) -> type:
        """The class. Raises `UserError` with the nearest name when there is none."""
        self._scan()
        try:
            return self._classes[name]
        except KeyError:
            raise UserError(
                f"there is no {self.kind} {name!r}.{nearest(name, self._classes)} "
                f"{self.plural.capitalize()}: {', '.join(sorted(self._classes))}"
            ) from None

    def default(self, name: str) -> "Part":
        """The part of that name with its default config."""
        owner: Any = self[name]
        return Part(self, name, owner.Config())

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        try:
            for module in _modules(self.package):
                importlib.import_module(module)
        except BaseException:
            self._scanned = False  # or the next look-up would find a part missing, not the cause
            raise
        from zoo.plugins import load_entry_points

        load_entry_points()

    def __repr__(self) -> str:
        return f"Registry({self.kind!r})"


def _modules(package: str) -> list[str]:
    """Names of a package's modules, "zoo.losses.cycle", but those that begin with `_`."""
    try:
        folders = importlib.import_module(package).__path__
    except ModuleNotFoundError as error:
        raise UserError(f"the package {package} cannot be imported: {error}") from error
    names = [module.name for module in pkgutil.iter_modules(folders)]
    return [f"{package}.{name}" for name in names if not name.startswith("_")]


def _registrations(module: str) -> list[tuple[str, str, str]]:
    """What a module's file registers: registry, name, first line about the class.

    `register` in another form than `@REGISTRY.register("name")` above a class has the registry "".
    """
    spec: Any = importlib.util.find_spec(module)
    tree = ast.parse(spec.loader.get_source(module))
    mentions = {
        id(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "register"
    }
    found = []
    for node in tree.body:
        for call in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            match call:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=owner), attr="register") as mention,
                    args=[ast.Constant(value=str(name))],
                    keywords=[],
                ):
                    mentions.discard(id(mention))
                    found.append((owner, name, _first_line(ast.get_docstring(node))))
    return [*found, *(("", "", "") for _ in mentions)]


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0]


def source_file(cls: type) -> str:
    """The file that defines a class."""
    module = sys.modules.get(cls.__module__)
    return str(getattr(module, "__file__", cls.__module__))


def _address(cls: type) -> tuple[str, str]:
    return cls.__qualname__, source_file(cls)


@dataclass(frozen=True)
class Part:
    """A registered class chosen by name, with its config; `build` makes the instance."""

    registry: Registry
    name: str
    config: Any

    @property
    def owner(self) -> type:
        """The registered class."""
        return self.registry[self.name]

    def build(self, *shapes) -> Any:
        """An instance: the class called with the config, then the shapes that the data dictate."""
        return self.owner(self.config, *shapes)

    def __deepcopy__(self, memo):
        return self  # immutable, and its registry must stay the one registry


def part(
    registry: Registry, default: str, *, needs: Iterable[str] = (), reads: str = "image"
) -> Any:
    """A dataclass field that holds a `Part`.

    Args:
        registry: where the part's name is looked up.
        default: the part used when a recipe names none.
        needs: what the part must offer (its class attribute `offers`), such as `{"cam"}`.
        reads: what the part is given, which must be its class attribute `reads` where it has one:
            "image", "features" for a generator that only decodes, or "latent".
    """
    return field(
        default_factory=lambda: registry.default(default),
        metadata={
            "registry": registry,
            "default": default,
            "needs": frozenset(needs),
            "reads": reads,
        },
    )


def parts(registry: Registry, **default: str) -> Any:
    """A dataclass field that holds a mapping of parts, `{"global": Part, …}`."""
    return field(
        default_factory=lambda: {key: registry.default(name) for key, name in default.items()},
        metadata={
            "registry": registry,
            "default": default,
            "needs": frozenset(),
            "reads": "image",
        },
    )


_READ = {"image": "images", "features": "features of an encoder", "latent": "latent vectors"}


def why_unfit(registry: Registry, name: str, needs: Iterable[str], reads: str | None) -> list[str]:
    """What keeps a part from a slot, one line each.

    Args:
        registry: of the part.
        name: the part's.
        needs: what the slot asks a part to offer.
        reads: what the slot gives to the part; None: anything.
    """

    def offers(part_name: str) -> set[str]:
        return set(getattr(registry[part_name], "offers", ()))

    def reading(part_name: str) -> str:
        return getattr(registry[part_name], "reads", "image")

    wrong, needs = [], set(needs)
    if lacking := sorted(needs - offers(name)):
        able = [other for other in registry.names() if needs <= offers(other)]
        wrong.append(
            f"the slot needs {', '.join(map(repr, lacking))}, which the {registry.kind} {name!r} "
            f"does not offer; those that do: {', '.join(able) or 'none'}"
        )
    if reads is not None and reading(name) != reads:
        able = [other for other in registry.names() if reading(other) == reads]
        wrong.append(
            f"the slot hands over {_READ[reads]}, and the {registry.kind} {name!r} reads "
            f"{_READ[reading(name)]}; those that fit: {', '.join(able) or 'none'}"
        )
    return wrong


def slot_registry(slot: Field) -> Registry | None:
    """The registry of a field made by `part` or `parts`, else None."""
    return slot.metadata.get("registry")


GENERATORS = Registry("generator", "zoo.generators")
DISCRIMINATORS = Registry("discriminator", "zoo.discriminators")
LOSSES = Registry("loss", "zoo.losses")
METHODS = Registry("method", "zoo.methods")
DATASETS = Registry("data set", "zoo.data")
METRICS = Registry("metric", "eval.metrics")

REGISTRIES = {
    "generators": GENERATORS,
    "discriminators": DISCRIMINATORS,
    "losses": LOSSES,
    "methods": METHODS,
    "datasets": DATASETS,
    "metrics": METRICS,
}
