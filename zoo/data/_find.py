"""Folders of a data set and the images in them; what is missing is told with what there is."""

import os
from collections import Counter
from pathlib import Path

from zoo.images import list_images, printable
from zoo.registry import UserError, nearest


def existing_root(root: str) -> Path:
    """Return the data set's folder.

    Raises:
        UserError: it is not set, does not exist (the message has the nearest name) or is no folder.
    """
    if not root:
        raise UserError("data.root is not set; it names the folder that holds the data set")
    folder = Path(root).expanduser()
    try:
        if folder.is_dir():
            next(folder.iterdir(), None)  # a folder that may not be listed fails here
            return folder
        if folder.exists():
            raise UserError(f"data.root {printable(folder)} is not a folder")
        parent = next(parent for parent in folder.parents if parent.is_dir())
        names = [path.name for path in parent.iterdir() if path.is_dir()]
    except OSError as error:
        raise UserError(f"data.root {printable(folder)}: {error.strerror}") from error
    missing = folder.relative_to(parent).parts[0]
    raise UserError(
        f"data.root {printable(folder)} does not exist: there is no {missing!r} in "
        f"{printable(parent.resolve())}.{nearest(missing, names)}"
    )


def find_folder(root: Path, name: str) -> Path | None:
    """Return the sub-folder of that name, in any case; the exact one where there are several.

    Raises:
        UserError: several differ only in case, and none is exact.
    """
    found = [path for path in root.iterdir() if path.name.lower() == name.lower() and path.is_dir()]
    exact = [path for path in found if path.name == name]
    if len(found) > 1 and not exact:
        names = ", ".join(sorted(path.name for path in found))
        raise UserError(f"{printable(root)} holds {names}; rename the one that is meant to {name}")
    return next(iter(exact or found), None)


def images_in(folder: Path) -> list[Path]:
    """List a folder's images.

    Raises:
        UserError: it cannot be listed or holds none; the message says what it holds.
    """
    try:
        paths = list_images(folder)
    except OSError as error:
        raise UserError(f"{printable(folder)} cannot be listed: {error.strerror}") from error
    if not paths:
        raise UserError(
            f"{printable(folder)} holds no images: looked for .jpg .png .webp .bmp .tif .ppm .gif "
            f"in any case, not in sub-folders; there is: {contents(folder)}"
        )
    return paths


def contents(folder: Path) -> str:
    """Describe what a folder holds: `folders trainA, testA; 3 files (2 .heic, 1 .txt)`."""
    entries = sorted(folder.iterdir(), key=os.fsencode)
    folders = [printable(path.name) for path in entries if path.is_dir()]
    files = [path for path in entries if not path.is_dir()]
    parts = []
    if folders:
        more = f" and {len(folders) - 8} more" if len(folders) > 8 else ""
        parts.append(f"folders {', '.join(folders[:8])}{more}")
    if files:
        counts = Counter(path.suffix.lower() or "without extension" for path in files)
        kinds = ", ".join(f"{n} {printable(kind)}" for kind, n in counts.most_common(5))
        hidden = sum(path.name.startswith(".") for path in files)
        shown = kinds + (f"; {hidden} of them hidden" if hidden else "")
        parts.append(f"{len(files)} files ({shown})")
    return "; ".join(parts) or "nothing"
