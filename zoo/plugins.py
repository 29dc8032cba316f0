"""Parts and recipes from elsewhere: entry points of other distributions, files named by hand."""

import hashlib
import importlib.util
import logging
import sys
import traceback
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path

from zoo.registry import REGISTRIES, UserError

logger = logging.getLogger(__name__)

_loaded = False


def part_entry_points() -> EntryPoints:
    """What other distributions name in the group `zoo.plugins`: modules that register parts."""
    return entry_points(group="zoo.plugins")


def load_entry_points() -> None:
    """Import, once, the modules that other distributions name in the group `zoo.plugins`.

    A module that fails is reported as a warning with its distribution's name and left out.
    """
    global _loaded
    if _loaded:
        return
    found = part_entry_points()
    if found:
        # Ours first, so that a clash of names is the plug-in's failure and not Zoo's.
        for registry in REGISTRIES.values():
            registry.names()
    if _loaded:  # by one of the registries just scanned
        return
    _loaded = True
    for entry in found:
        try:
            entry.load()
        except Exception as error:
            _warn(entry, error)


@cache
def recipe_folders() -> tuple[Path, ...]:
    """Folders of recipes that other distributions name in the group `zoo.recipes`.

    An entry's value is a package, whose folder holds the YAML files.
    """
    folders: list[Path] = []
    for entry in entry_points(group="zoo.recipes"):
        try:
            spec = importlib.util.find_spec(entry.module)
            if spec is None or not spec.submodule_search_locations:
                raise ImportError(f"{entry.module} is not a package")
            folders += [Path(folder) for folder in spec.submodule_search_locations]
        except Exception as error:
            _warn(entry, error)
    return tuple(folders)


def _warn(entry: EntryPoint, error: Exception) -> None:
    owner = entry.dist.name if entry.dist else "an unknown distribution"
    logger.warning(
        "the plug-in %r of %s is left out, as importing %s failed: %s: %s",
        entry.name,
        owner,
        entry.module,
        type(error).__name__,
        error,
    )


def import_file(path: Path) -> None:
    """Run, once, a Python file that registers parts and is not installed as a package.

    Raises:
        UserError: the file does not exist, or fails; the message names the line.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise UserError(f"plug-in file {path} does not exist")
    name = f"zoo_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"plug-in file {path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [
            f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)
        ]
        line = error.lineno if isinstance(error, SyntaxError) else (lines or [1])[-1]
        raise UserError(
            f"plug-in file {path} fails at line {line}: {type(error).__name__}: {error}"
        ) from error


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits, by which a run records the plug-ins it used."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
