"""Adaptation recipes by name: the files in the folders `adaptation` beside other recipes."""

from pathlib import Path

from zoo.recipe import RecipeError, parse_file, recipe_folders
from zoo.registry import nearest


class AdaptationError(RecipeError):
    """What is wrong with an adaptation recipe."""


def list_adaptations() -> list[str]:
    """Names of the adaptation recipes."""
    return sorted(_files())


def adaptation_description(name: str) -> str:
    """The `description` in a recipe's file, read without checking the recipe."""
    description = parse_file(find_adaptation(name), []).value.get("description")
    return str(description.value) if description else ""


def find_adaptation(name_or_path: str | Path) -> Path:
    """The file of an adaptation recipe.

    Raises:
        AdaptationError: there is none; the message has the nearest name.
    """
    path, files = Path(name_or_path), _files()
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    name = str(name_or_path).removeprefix("adaptation/")
    if name not in files:
        raise AdaptationError(
            [
                f"there is no adaptation recipe {str(name_or_path)!r}.{nearest(name, files)} "
                f"Adaptation recipes: {', '.join(sorted(files)) or 'none'}"
            ]
        )
    return files[name]


def _files() -> dict[str, Path]:
    files: dict[str, Path] = {}
    for folder in recipe_folders():
        for path in sorted((folder / "adaptation").glob("*.yaml")):
            files.setdefault(path.stem, path)
    return files
