"""What the site takes from the code and from files when it is built, so that it cannot lag behind.

A page asks for it by a comment on a line of its own: `<!-- recipe fields -->`,
`<!-- sweep fields -->`, `<!-- parts -->`, `<!-- layers -->`, `<!-- results -->`, or
`<!-- picture: images/x.png | caption -->`.
"""

import json
import re
import tomllib
from pathlib import Path
from posixpath import relpath
from typing import Any

from zoo.create import describe_part, field_help
from zoo.registry import REGISTRIES
from zoo.schema import DataConfig, Player, Recipe
from zoo.sweep import Published, RowRun, SweepFile

DOCS = Path(__file__).parent
_ASKS = re.compile(
    r"^<!-- (recipe fields|sweep fields|parts|layers|results|picture: .*?) -->$", re.MULTILINE
)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace what a page asks for."""
    return expand(markdown, page.file.src_uri)


def expand(markdown: str, page: str) -> str:
    """The text of a page with everything it asks for.

    Args:
        markdown: as in the file.
        page: its path below docs/, for links.
    """

    def answer(match: re.Match) -> str:
        ask, _, rest = match[1].partition(": ")
        if ask == "recipe fields":
            return recipe_fields()
        if ask == "sweep fields":
            return sweep_fields()
        if ask == "parts":
            return parts()
        if ask == "layers":
            return layers()
        if ask == "results":
            return results(page)
        return picture(page, *(word.strip() for word in rest.split("|")))

    return _ASKS.sub(answer, markdown)


def recipe_fields() -> str:
    """A table for every section of a recipe."""
    rows = field_help(Recipe)
    rows += field_help(Player, "optim.players.NAME.") + field_help(DataConfig, "data.")
    sections: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        section = row["name"].partition(".")[0] if "." in row["name"] else ""
        sections.setdefault(section, []).append(row)
    texts = []
    for section, fields in sections.items():
        title = f"### {section}" if section else "### Top level"
        texts += [f"{title}\n\n{_table(fields)}"]
    return "\n\n".join(texts)


def sweep_fields() -> str:
    """A table for a sweep, and one for each thing in its lists."""
    rows = field_help(SweepFile)
    rows += field_help(RowRun, "rows.LABEL.runs[].") + field_help(Published, "published[].")
    return _table(rows)


def parts() -> str:
    """A chapter for every kind of part, a section with its fields for every part."""
    texts = []
    for kind, registry in REGISTRIES.items():
        texts.append(f"## {'data sets' if kind == 'datasets' else kind}".capitalize())
        for name in registry.names():
            part = describe_part(kind, name)
            first, _, rest = part["doc"].partition("\n")
            texts += [f"### {part['kind']} `{name}`", first, rest.partition("Attributes:")[0]]
            texts += [_table(part["fields"]) if part["fields"] else "No fields."]
            for key in ("offers", "recipes"):
                if part[key]:
                    texts.append(f"{key.capitalize()}: {', '.join(f'`{v}`' for v in part[key])}")
    return "\n\n".join(text for text in texts if text.strip())


def layers() -> str:
    """The order of the import contract, from top to bottom."""
    settings = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (order,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    modules = (re.split(r" [|:] ", layer) for layer in order)
    return "\n".join(f"1. {', '.join(f'`{module}`' for module in layer)}" for layer in modules)


def results(page: str) -> str:
    """A list of the pages of measured results, by their titles."""
    lines = []
    for file in sorted((DOCS / "results").glob("*.md")):
        if file.name != "index.md":
            title = file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()
            link = relpath(f"results/{file.name}", Path(page).parent.as_posix())
            lines.append(f"- [{title or file.stem}]({link})")
    return "\n".join(lines) or "No results have been written down yet."


def picture(page: str, file: str, caption: str) -> str:
    """A picture, or nothing while no run has made it."""
    if not (DOCS / file).is_file():
        return ""
    return f"![{caption}]({relpath(file, Path(page).parent.as_posix())})"


def _table(fields: list[dict[str, Any]]) -> str:
    lines = ["| field | type | default | help |", "| --- | --- | --- | --- |"]
    for field in fields:
        required = field["default"] == "required"
        default = "required" if required else f"`{json.dumps(field['default'])}`"
        text = field["help"].replace("|", "\\|")  # within backticks it needs no escape
        lines.append(f"| `{field['name']}` | `{field['type']}` | {default} | {text} |")
    return "\n".join(lines)
