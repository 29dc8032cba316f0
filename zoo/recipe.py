"""Recipes: find them, lay them over one another, check them, write them out again.

A recipe is a YAML file whose fields are those of `zoo.schema.Recipe`. `extends: […]` names recipes
that it is laid over, from left to right; overrides such as `method.weights.cycle=5` come last.
Mappings merge, everything else replaces, and a mapping whose `name` changes starts afresh.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from zoo import plugins as plugin_files
from zoo.registry import Part, Registry, UserError, nearest
from zoo.schema import Recipe
from zoo.typed import Checker, Node, merge, to_plain

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SUFFIXES = (".yaml", ".yml")
_TAG = "tag:yaml.org,2002:"
_NOT_RECIPES = ("accelerate", "adaptation", "sweeps")  # folders of YAML with another schema


class RecipeError(UserError):
    """What is wrong with a recipe.

    Attributes:
        problems: one line each, `file.yaml:LINE: dotted.path: what is wrong`.
    """

    def __init__(self, problems: Sequence[str]):
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def load_recipe(
    name_or_path: str | Path, overrides: Sequence[str] = (), plugins: Sequence[str | Path] = ()
) -> Recipe:
    """The checked recipe.

    Args:
        name_or_path: "horse2zebra/cyclegan", or the path of a YAML file, such as the one in a run.
        overrides: "method.weights.cycle=5", values as in YAML; later ones win.
        plugins: Python files that register parts, besides those that the recipe names.

    Raises:
        RecipeError: with every problem that was found.
    """
    problems: list[str] = []
    tree = _read(find_recipe(name_or_path), problems)
    for override in overrides:
        node = parse_override(override, problems)
        tree = merge(tree, node) if node else tree
    try:
        tree = _import_plugins(tree, plugins)
    except UserError as error:
        raise RecipeError([*problems, str(error)]) from error

    checker = Checker()
    recipe = checker.config(Recipe, tree, "")
    problems += checker.problems
    if problems:
        raise RecipeError(problems)
    return recipe


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The complete recipe as dicts, lists and scalars, in the order of the fields."""
    plain = to_plain(recipe)
    if not recipe.provenance:
        del plain["provenance"]
    return plain


def dump_recipe(recipe: Recipe) -> str:
    """The complete recipe as YAML, which `load_recipe` takes back unchanged."""
    return yaml.dump(
        to_dict(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


class _Dumper(yaml.SafeDumper):
    """Writes lists of scalars on one line, and no anchors."""

    def ignore_aliases(self, data):
        return True


def _represent_list(dumper: _Dumper, items: list) -> yaml.Node:
    scalars = not any(isinstance(item, list | dict) for item in items)
    return dumper.represent_sequence(_TAG + "seq", items, flow_style=scalars)


def _represent_str(dumper: _Dumper, text: str) -> yaml.Node:
    # YAML folds line breaks, rare ones too; in double quotes they are escaped.
    return dumper.represent_scalar(_TAG + "str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_str)


# Finding.


def recipe_folders() -> list[Path]:
    """Where recipes are looked up by name, first match wins."""
    installed = Path(__file__).parent / "_recipes"
    beside = Path(__file__).parent.parent / "recipes"
    folders = [
        Path("recipes"),
        installed if installed.is_dir() else beside,
        *plugin_files.recipe_folders(),
    ]
    return [folder for folder in folders if folder.is_dir()]


def list_recipes() -> list[str]:
    """Names of the recipes to train; those in folders like `_base` only serve others."""
    return [name for name in _all_names() if not any(part[0] == "_" for part in name.split("/"))]


def _all_names() -> list[str]:
    names = set()
    for folder in recipe_folders():
        for path in folder.rglob("*.yaml"):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name.partition("/")[0] not in _NOT_RECIPES:
                names.add(name)
    return sorted(names)


def recipe_description(name: str) -> str:
    """The `description` in the recipe's own file, read without checking the recipe."""
    node = parse_file(find_recipe(name), [])
    description = node.value.get("description")
    return str(description.value) if description else ""


def recipes_using(registry: Registry, name: str) -> list[str]:
    """Names of the recipes in which a part of that name is used, by default or by name."""
    return recipes_by_part().get((registry, name), [])


def recipes_by_part() -> dict[tuple[Registry, str], list[str]]:
    """For every part that a recipe uses the names of those recipes.

    Recipes with mistakes are left out, and those that need plug-in files, which are not run.
    """
    using: dict[tuple[Registry, str], list[str]] = {}
    for recipe_name in list_recipes():
        checker = Checker()
        try:
            tree = _read(find_recipe(recipe_name), checker.problems)
        except RecipeError:  # is told to those who load it
            continue
        recipe = None if "plugins" in tree.value else checker.config(Recipe, tree, "")
        if recipe and not checker.problems:
            for part in set(_parts(recipe)):
                using.setdefault(part, []).append(recipe_name)
    return using


def _parts(value: Any) -> Iterator[tuple[Registry, str]]:
    """Registry and name of every part within."""
    if isinstance(value, Part):
        yield value.registry, value.name
        yield from _parts(value.config)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _parts(item)
    elif is_dataclass(value):
        for item in fields(value):
            yield from _parts(getattr(value, item.name))


def find_recipe(name_or_path: str | Path) -> Path:
    """The file of a recipe.

    Raises:
        RecipeError: there is none; the message has the nearest name and the folders searched.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if path.suffix in _SUFFIXES and path.is_file():
        return path
    folders = recipe_folders()
    found = [folder / f"{name}.yaml" for folder in folders if (folder / f"{name}.yaml").is_file()]
    if found:
        return found[0]
    if (path / "recipe.yaml").is_file():
        raise RecipeError([f"{name} is a folder; its recipe is {path / 'recipe.yaml'}"])
    what = f"no file {name}" if path.suffix in _SUFFIXES else f"no recipe {name!r}"
    raise RecipeError(
        [
            f"there is {what}.{nearest(name, _all_names())} "
            f"Recipes: {', '.join(list_recipes()) or 'none'}. "
            f"Looked in: {', '.join(map(str, folders)) or 'no folder, as none exists'}"
        ]
    )


# Reading.


def _read(path: Path, problems: list[str]) -> Node:
    """The file laid over what it extends."""
    layers: dict[Path, Node] = {}
    _add_layers(path, (), layers, problems)
    tree = None
    for layer in layers.values():
        tree = merge(tree, layer)
    assert tree is not None
    return tree


def _add_layers(
    path: Path, chain: tuple[Path, ...], layers: dict[Path, Node], problems: list[str]
) -> None:
    """Add what the file extends, then the file; one that several extend counts where first met.

    Args:
        path: the file.
        chain: the files that led here, by `extends`.
        layers: files and their nodes, bottom first.
        problems: receives what is wrong.
    """
    chain = (*chain, path.resolve())
    own = parse_file(path, problems)
    given = own.value.pop("extends", Node([], own.place))
    for name in given.value if isinstance(given.value, list) else [given]:
        if not isinstance(name.value, str):
            problems.append(f"{name.place}: extends: expected names of recipes")
            continue
        try:
            base = _find_base(name.value, path)
        except RecipeError as error:
            problems += [f"{name.place}: extends: {problem}" for problem in error.problems]
            continue
        if base.resolve() in chain:
            circle = [*chain[chain.index(base.resolve()) :], base]
            problems.append(
                f"{name.place}: extends: a circle: {' -> '.join(_shown(p) for p in circle)}"
            )
        elif base.resolve() not in layers:
            _add_layers(base, chain, layers, problems)
    layers[path.resolve()] = own


def _find_base(name: str, path: Path) -> Path:
    """What `extends` means: a file name is relative to the file, anything else a recipe's name."""
    return find_recipe(path.parent / name if name.endswith(_SUFFIXES) else name)


def parse_file(path: Path, problems: list[str]) -> Node:
    """The nodes of one file; problems that leave the rest readable are added to `problems`."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError([f"{_shown(path)}: not UTF-8 text: {error}"]) from error
    node = _parse_text(text, _shown(path), path.parent, problems)
    if node.value is None:
        return replace(node, value={})
    if not isinstance(node.value, dict):
        raise RecipeError([f"{node.place}: expected a mapping of fields"])
    return node


def parse_override(override: str, problems: list[str]) -> Node | None:
    """The nodes of `section.field=value`; None, with a problem noted, for another form."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        problems.append(f"command line: {override!r} is not of the form section.field=value")
        return None
    node = _parse_text(text, "command line", Path(), problems)
    for key in reversed(keys):
        node = Node({key: node}, "command line")
    return node


def _parse_text(text: str, source: str, folder: Path, problems: list[str]) -> Node:
    """The nodes of a text; `source` is a file's name, or "command line"."""
    lines = 0 if source == "command line" else len(text.splitlines())
    seen: set[int] = set()

    def place(mark: yaml.Mark | None) -> str:
        return f"{source}:{min(mark.line + 1, lines)}" if lines and mark else source

    def convert(node: yaml.Node, where: str) -> Node:
        if id(node) in seen:
            raise RecipeError(
                [f"{where}: YAML anchors are not supported; recipes share by `extends`"]
            )
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return Node(convert_mapping(node), where, folder=folder)
        if isinstance(node, yaml.SequenceNode):
            items = [convert(item, place(item.start_mark)) for item in node.value]
            return Node(items, where, folder=folder)
        return Node(_scalar(node.tag, node.value, where), where, node.value, folder)

    def convert_mapping(node: yaml.MappingNode) -> dict[str, Node]:
        mapping: dict[str, Node] = {}
        for key, value in node.value:
            where = place(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError([f"{where}: a field's name must be text"])
            if key.value in mapping:
                problems.append(
                    f"{where}: the field {key.value!r} is given twice, "
                    f"first at {mapping[key.value].place}"
                )
            mapping[key.value] = convert(value, where)
        return mapping

    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        where = place(getattr(error, "problem_mark", None))
        raise RecipeError([*problems, f"{where}: not valid YAML: {problem}"]) from error
    return convert(root, place(root.start_mark)) if root else Node(None, place(None))


def _scalar(tag: str, text: str, where: str) -> Any:
    """A scalar's value; what only YAML takes for a number (`1:30`, `017`) or a date stays text."""
    kind = tag.removeprefix(_TAG)
    digits = text.replace("_", "").lower()
    try:
        if kind == "int":
            return int(digits, 0)
        if kind == "float":
            return float(digits.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text
    if kind == "bool":
        return digits in ("yes", "true", "on")
    if kind == "null":
        return None
    if kind not in ("str", "timestamp", "value", "merge"):
        raise RecipeError([f"{where}: the YAML tag {tag} is not supported"])
    return text


def _shown(path: Path) -> str:
    """A path for messages: relative to the working directory where it lies in it."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _import_plugins(tree: Node, more: Sequence[str | Path]) -> Node:
    """Import the plug-in files; the tree returned names them all by absolute paths."""
    given = tree.value.get("plugins", Node([], tree.place))
    if not isinstance(given.value, list) or not all(isinstance(n.value, str) for n in given.value):
        return tree  # the check of types says what is wrong
    files = []
    for node in given.value:
        files.append(replace(node, value=str((node.folder / node.value).resolve())))
        try:
            plugin_files.import_file(Path(files[-1].value))
        except UserError as error:
            raise UserError(f"{node.place}: plugins: {error}") from error
    for path in more:
        files.append(Node(str(Path(path).resolve()), "command line"))
        plugin_files.import_file(Path(path))
    unique = {node.value: node for node in files}
    return replace(
        tree, value={**tree.value, "plugins": replace(given, value=list(unique.values()))}
    )
